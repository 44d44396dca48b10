"""Results of all calls, in ``cuda_check.json``; the report is made anew with each."""

import json
from typing import Any

from ..apis import UserError
from ..files import whole_file
from .report import markdown
from .settings import Settings


class State:
    """Results by step, those of earlier calls included.

    Args:
        settings: Of this call.
        environment: What :func:`.environment.describe` says.

    Attributes:
        results: What ``cuda_check.json`` holds; ``steps`` has what came out of each by its name.

    Raises:
        UserError: The folder cannot be written, or holds results of another machine, device or
            training schedule.
    """

    def __init__(self, settings: Settings, environment: dict[str, Any]) -> None:
        self.file = settings.out / 'cuda_check.json'
        try:
            settings.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'--out: no folder at {settings.out}: {error.strerror}') from None
        identity = environment['identity'] | dict(iterations=settings.iterations)
        earlier = self._read() if self.file.exists() else {}
        for key, value in earlier.get('identity', {}).items():
            if identity.get(key) != value:
                raise UserError(
                    f'{self.file} holds results with {key} {value!r}, now it is '
                    f'{identity.get(key)!r}: give another --out'
                )
        self.results: dict[str, Any] = dict(
            device=settings.device,
            identity=identity,
            seeds=sorted({*earlier.get('seeds', []), *settings.seeds}),
            commands=[*earlier.get('commands', []), settings.command],
            environment=environment,
            steps=earlier.get('steps', {}),
        )
        self.write()

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """What came out of each step, by its name."""
        return self.results['steps']

    def status(self, name: str) -> str | None:
        """How a step ended; None when it has not run."""
        return self.steps.get(name, {}).get('status')

    def record(self, name: str, result: dict[str, Any]) -> None:
        """Notes what came out of a step, and writes both files."""
        self.steps[name] = result
        self.write()

    def write(self) -> None:
        """Writes ``cuda_check.json`` and ``cuda_check.md``."""
        with whole_file(self.file) as temporary:
            temporary.write_text(json.dumps(self.results, indent=1) + '\n')
        with whole_file(self.file.with_suffix('.md')) as temporary:
            temporary.write_text(markdown(self.results))

    def _read(self) -> dict[str, Any]:
        try:
            results = json.loads(self.file.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f'{self.file} cannot be read ({error}): give another --out') from None
        if not isinstance(results, dict) or 'steps' not in results:
            raise UserError(f'{self.file} is not of this tool: give another --out')
        return results
