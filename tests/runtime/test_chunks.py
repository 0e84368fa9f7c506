from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.chunks import Chunks


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(1, 30))
def test_chunks_have_the_size_asked_for_and_all_the_bytes(pieces: list[bytes], size: int) -> None:
    chunks, found = Chunks(), []
    for piece in pieces:
        chunks.push(piece)
        while (chunk := chunks.pop(size)) is not None:
            found.append(chunk)
    rest = chunks.flush()
    assert all(len(chunk) == size and type(chunk) is bytes for chunk in found)
    assert len(rest) < size
    assert b"".join([*found, rest]) == b"".join(pieces)
    assert chunks.flush() == b""


@given(st.lists(st.integers(1, 30), max_size=10), st.binary(max_size=100))
def test_size_may_change_from_chunk_to_chunk(sizes: list[int], data: bytes) -> None:
    chunks, found = Chunks(), b""
    chunks.push(memoryview(data))
    for size in sizes:
        found += chunks.pop(size) or b""
    assert found + chunks.flush() == data


def test_a_piece_that_is_a_chunk_is_given_as_it_is() -> None:
    chunks, piece = Chunks(), bytes(range(100))
    chunks.push(piece)
    assert chunks.pop(100) is piece
    chunks.push(memoryview(piece)[:50])
    chunks.push(bytearray(piece[50:]))
    assert [chunks.pop(50), chunks.pop(50), chunks.pop(1)] == [piece[:50], piece[50:], None]
