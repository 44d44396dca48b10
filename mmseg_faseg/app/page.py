"""The page: what is on it, and what its events ask."""

import html
import tempfile
import traceback
from pathlib import Path
from typing import Any

import gradio as gr

from ..datasets.broken_files import first_line
from ..errors import UserError
from .answers import Answers, Photo
from .scene import part, scene_of

_KEPT = 6 * 3600  # seconds for which files can be downloaded
_WAITING = 32  # questions that may wait for their turn
_HOW_TO = (
    'Point at the picture to see the class, and click to see which query made it so and what that '
    'query looked at.'
)
_ABOUT_FOCUS = (
    'A column per layer of the decoder. Focus A: bright where the query looked. Below, where its '
    'position points, yellow best, and the mask that it had after the layer.'
)


def make_page(answers: Answers, name: str) -> gr.Blocks:
    """Makes the page.

    Args:
        answers: Of the model.
        name: What to call the model.
    """
    with gr.Blocks(
        title=f'{name} - mmseg_faseg', analytics_enabled=False, delete_cache=(600, _KEPT)
    ) as page:
        gr.HTML(f'<h1>{html.escape(name)}</h1>')
        photo = gr.State()
        most = f'{answers.max_pixels / 1e6:g} megapixels'
        upload = gr.File(label=f'A picture, of up to {most}', height=130, elem_id='upload')
        message = gr.HTML(elem_id='message')
        scene = gr.HTML(
            html_template=part('html'),
            css_template=part('css'),
            js_on_load=part('js'),
            elem_id='scene',
        )
        with gr.Row():
            files = [
                gr.DownloadButton(label, interactive=False, elem_id=elem_id)
                for label, elem_id in (
                    ('Label map (PNG)', 'labels'),
                    ('Overlay', 'overlay'),
                    ('Areas (CSV)', 'areas'),
                )
            ]
        focus = gr.HTML(elem_id='focus')

        events = Events(answers, Path(upload.GRADIO_CACHE))
        # One question at a time, whoever has the page open: the network takes all cores anyway,
        # and memory stays that of one run.
        turn: dict[str, Any] = dict(
            concurrency_limit=1, concurrency_id='model', api_visibility='private'
        )
        upload.upload(
            events.uploaded, upload, [upload, photo, message, scene, *files, focus], **turn
        )
        scene.click(events.clicked, photo, focus, **turn)
    return page.queue(max_size=_WAITING)


class Events:
    """What happens when somebody does something.

    Args:
        answers: Of the model.
        folder: Where files to download go.
    """

    def __init__(self, answers: Answers, folder: Path) -> None:
        self.answers = answers
        self.folder = folder

    def uploaded(self, path: str | None) -> tuple:
        """A picture was given: what every part of the page then shows."""
        try:
            if path is None:
                raise UserError('there is no picture')
            photo = self.answers.predict(path)
            self.folder.mkdir(parents=True, exist_ok=True)
            files = photo.save(Path(tempfile.mkdtemp(dir=self.folder)))
        except Exception as error:  # the next picture may be fine
            no_files = [gr.DownloadButton(value=None, interactive=False)] * 3
            return (None, None, _alert(_reason(error)), None, *no_files, '')
        buttons = [gr.DownloadButton(value=file, interactive=True) for file in files]
        notes = ''.join(_alert(note) for note in photo.notes)
        message = f'{notes}<p><b>{html.escape(photo.file)}</b> {_HOW_TO}</p>'
        return (None, photo, message, scene_of(photo.prediction), *buttons, '')

    def clicked(self, photo: Photo | None, event: gr.EventData) -> str:
        """Somebody clicked at a place of the picture: what is then shown about it."""
        try:
            if photo is None:
                raise UserError('the server has forgotten the picture: give it once more')
            found = self.answers.explain(photo, event.x, event.y)
        except Exception as error:  # the next click may be fine
            return _alert(_reason(error))
        return (
            f'<p><b>{html.escape(found.text)}</b></p><p>{_ABOUT_FOCUS}</p>'
            f'<div style="overflow-x: auto"><img src="{found.picture.uri}" style="max-width: none" '
            'alt="Focus, position and mask, layer by layer"></div>'
        )


def _reason(error: Exception) -> str:
    """An error in a line; that of a part that failed leaves its trace in the terminal."""
    if isinstance(error, UserError):
        return str(error)
    traceback.print_exception(error)
    return first_line(error)


def _alert(text: str) -> str:
    return f'<p role="alert">{html.escape(text)}</p>'
