"""``faseg app``: a page in the browser that predicts pictures and shows what queries look at.

Gradio is optional and imported where a page is made.
"""
