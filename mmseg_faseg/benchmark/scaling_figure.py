"""The figure of cost against work."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

_LABELS = {
    'side': 'input side, pixels',
    'queries': 'queries',
    'classes': 'classes',
    'batch': 'batch, images',
}
_QUANTITIES = {'seconds': ('time, s', 1.0), 'bytes': ('peak memory, MiB', 2.0**-20)}


def draw(curves: dict[str, dict[str, list[dict[str, Any]]]], path: Path) -> None:
    """Draws time above and memory below, a column per axis, all logarithmic.

    A thin line in a model's colour grows as its FLOPs do, from its first point: a cost below it
    grows slower than the arithmetic.

    Args:
        curves: By axis and model, rows with the axis's value, 'seconds', 'bytes' and 'flops'.
        path: PNG file.
    """
    figure = Figure(figsize=(3.2 * len(curves), 5.6), layout='constrained')
    axes = figure.subplots(len(_QUANTITIES), len(curves), sharex='col', sharey='row', squeeze=False)
    for column, (axis, models) in enumerate(curves.items()):
        for line, (quantity, (label, unit)) in enumerate(_QUANTITIES.items()):
            ax = axes[line, column]
            for colour, (name, rows) in enumerate(models.items()):
                _curve(ax, rows, axis, quantity, unit, dict(color=f'C{colour}', label=name))
            ax.set_xscale('log', base=2)
            ax.set_yscale('log')
            ax.grid(alpha=0.3)
            values = sorted({row[axis] for rows in models.values() for row in rows})
            ax.set_xticks(values, [str(value) for value in values])
            ax.minorticks_off()
            if column == 0:
                ax.set_ylabel(label)
        axes[-1, column].set_xlabel(_LABELS[axis])
    axes[0, 0].plot([], [], color='grey', linewidth=0.7, linestyle='--', label='as FLOPs grow')
    axes[0, 0].legend(fontsize='small')
    figure.savefig(path, dpi=120)


def _curve(
    ax: Any, rows: list[dict[str, Any]], axis: str, quantity: str, unit: float, style: dict
) -> None:
    rows = [row for row in rows if row[quantity]]
    if not rows:
        return
    values = [row[axis] for row in rows]
    costs = [row[quantity] * unit for row in rows]
    ax.plot(values, costs, marker='o', markersize=3, **style)
    scale = costs[0] / rows[0]['flops']
    ax.plot(
        values,
        [row['flops'] * scale for row in rows],
        color=style['color'],
        linewidth=0.7,
        linestyle='--',
    )
