# Neither: learned positional queries, no HRCA.
_base_ = './faseg_toy_no-hrca.py'
model = dict(
    decode_head=dict(positional_query=dict(_delete_=True, type='LearnedPositionalQuery')),
)
