"""What fuzz tests share: how many inputs they try, and how bytes are edited.

``FUZZ=70`` in the environment tries seventy times as many, a million, other ones each time.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get('FUZZ', '1'))

edits = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(['flip', 'cut', 'insert', 'copy']), st.binary(max_size=9)
    ),
    min_size=1,
    max_size=4,
)


def many(count: int):
    return settings(
        max_examples=count * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def edited(data: bytes, changes) -> bytes:
    for place, kind, new in changes:
        at = int(place * max(len(data) - 1, 0))
        if kind == 'flip':
            data = data[:at] + new + data[at + len(new) :]
        elif kind == 'cut':
            data = data[:at] + data[at + len(new) :]
        elif kind == 'insert':
            data = data[:at] + new + data[at:]
        else:
            data = data[:at] + data[at // 2 : at // 2 + 20] + data[at:]
    return data
