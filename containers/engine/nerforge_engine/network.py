"""Token vectors: hash embedding and convolutions, the same numbers as spaCy's up to rounding.

Notation: W is the width, P the maxout pieces, D the depth. For a token, spaCy computes (all in float32):

    e    = norm_0(maxout(M · [table_1[hash(a_1)] … table_k[hash(a_k)], V·vector]))     MultiHashEmbed
    x_0  = e
    x_l  = x_(l-1) + norm_l(maxout(A_l · [left, x_(l-1), right] + b_l)),  l = 1 … D    MaxoutWindowEncoder
    norm(h) = (h - mean h) / sqrt(var h + 1e-8) · gain + shift

(spacy/ml/models/tok2vec.py; thinc/layers/{hashembed,maxout,layernorm,residual,expand_window}.py), a table's
row being the sum of four (``gather_add`` in thinc/backends/numpy_ops.pyx). Four identities make it cheap:

1. e depends on the token alone, and so do the three products of A_1's slices with it: A_1·[l, x, r] is
   A_1,left·l + A_1,mid·x + A_1,right·r. `Rows` keeps e and the products, so that the first layer adds three
   rows in place of a matrix product.
2. The documents of a batch lie one behind the other with D rows of zeros around each, as
   ``with_array(pad=D)`` lays them. A row of padding takes part in each layer as if it were a token, and what
   reaches a token from D rows away is all that can. So layer l is needed only from row l on, and the last one
   for tokens alone. What lies beyond the padding never reaches a token; a slice of a long text may have D
   tokens of context there instead.
3. norm's shift is the same in all rows, so it is left out of x and added as A·shift to the next layer's bias,
   and at last to the parser's: `Network.shift` is what the vectors lack.
4. A bias is one more row of the matrix, over a column of ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy

from .weights import Floats, Maxout, Weights

_BLOCK = 256  # rows that go through a layer at a time: inputs, outputs and matrix then stay in the L2 cache


class Rows:
    """Vectors by row: ``embedding`` (rows, W) and ``products`` 3 x (rows, P·W). Row 0 is padding."""

    def __init__(self, count: int, width: int, outputs: int, bias: Floats) -> None:
        # Zeros are not in memory until they are written.
        self.embedding = numpy.zeros((count, width), "float32")
        self.products = [numpy.zeros((count, outputs), "float32") for __ in range(3)]
        self.products[1][0] = bias

    def copy(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Copy rows to other rows."""
        for array in (self.embedding, *self.products):
            array[target] = array[source]


class Network:
    """The network of a pipeline.

    Parameters
    ----------
    weights:
        Its parameters.
    count:
        How many rows of vectors there are to be.
    """

    def __init__(self, weights: Weights, count: int) -> None:
        from thinc.api import NumpyOps

        first, *others = weights.convolutions
        self._ops = NumpyOps()
        self._weights = weights
        self.width = len(first.gain)
        self.depth = len(weights.convolutions)
        self._mixer = _Layer(weights.mixer)
        self._first = _Layer(first)
        self._first_slices = [
            numpy.ascontiguousarray(part) for part in numpy.split(self._first.matrix[:-1], 3)
        ]
        self.shift = first.shift
        self._others = []
        for layer in others:
            self._others.append(_Layer(layer, numpy.tile(self.shift, 3)))
            self.shift = self.shift + layer.shift
        self.rows = Rows(count, self.width, self._first.matrix.shape[1], self._first.matrix[-1])

    def embed(self, attributes: numpy.ndarray, start: int) -> None:
        """Fill the rows from ``start`` on with the vectors of tokens.

        Parameters
        ----------
        attributes:
            (tokens, attributes), of uint64; behind those of the tables one that the static vectors go by.
        """
        weights = self._weights
        for at in range(0, len(attributes), _BLOCK):
            part = attributes[at : at + _BLOCK]
            features = [
                self._ops.gather_add(table.rows, self._ops.hash(column, table.seed) % len(table.rows))
                for table, column in zip(weights.tables, numpy.ascontiguousarray(part.T), strict=False)
            ]
            if static := weights.static:
                found = static.vectors.find(keys=part[:, -1])
                projected = static.vectors.data[found] @ static.projection.T
                projected[found < 0] = 0
                features.append(projected)
            features.append(numpy.ones((len(part), 1), "float32"))
            embedding = self._mixer.normalized(numpy.concatenate(features, axis=1) @ self._mixer.matrix)
            embedding += weights.mixer.shift
            rows = slice(start + at, start + at + len(part))
            self.rows.embedding[rows] = embedding
            for product, part_of_first in zip(self.rows.products, self._first_slices, strict=True):
                numpy.matmul(embedding, part_of_first, out=product[rows])
            self.rows.products[1][rows] += self._first.matrix[-1]

    def vectors(self, rows: numpy.ndarray, wanted: numpy.ndarray) -> Floats:
        """The tokens' vectors less `shift`, of shape (wanted, W).

        Parameters
        ----------
        rows:
            The rows of all tokens and padding as they follow each other, of which the first and last D are
            padding or context.
        wanted:
            The places among ``rows``, ascending, of the tokens whose vectors are asked for.
        """
        x = numpy.empty((len(rows), self.width), "float32")
        places = None if self._others else wanted
        for at, stop in _blocks(1, len(rows) - 1, places):
            here: Any = slice(at, stop) if places is None else places[at:stop]
            left, middle, right = (
                product.take(rows[at + by : stop + by] if places is None else rows[here + by], axis=0)
                for product, by in zip(self.rows.products, (-1, 0, 1), strict=True)
            )
            left += middle
            left += right
            h = self._first.normalized(left)
            numpy.add(h, self.rows.embedding.take(rows[here], axis=0), out=x[at:stop])
        if places is not None:
            return x[: len(wanted)]
        for number, layer in enumerate(self._others, 2):
            last = number == self.depth
            x = layer.convolved(x, number, wanted if last else None)
        return x


class _Layer:
    """A maxout layer, pieces side by side; its bias, given the shift of its inputs, is the last row."""

    def __init__(self, layer: Maxout, shift: Floats | None = None) -> None:
        outputs, self._pieces, inputs = layer.weights.shape
        matrix = layer.weights.transpose(2, 1, 0).reshape(inputs, -1)
        bias = layer.bias.T.reshape(1, -1).astype("float64")
        if shift is not None:
            bias = bias + shift.astype("float64") @ matrix
        self.matrix = numpy.concatenate([matrix, bias], axis=0, dtype="float32", casting="same_kind")
        self._width = outputs
        self._gain = layer.gain
        self._mean = numpy.full(outputs, 1 / outputs, "float32")
        self._windows = numpy.ones((_BLOCK, inputs + 1), "float32")
        self._outputs = numpy.empty((_BLOCK, self.matrix.shape[1]), "float32")

    def normalized(self, y: Floats) -> Floats:
        """Layer normalization, less its shift, of the greatest of each output's pieces; y is (rows, P·W)."""
        width = self._width
        h: Floats = numpy.maximum(y[:, :width], y[:, width : 2 * width]) if self._pieces > 1 else y
        for piece in range(2, self._pieces):
            numpy.maximum(h, y[:, piece * width : (piece + 1) * width], out=h)
        h -= (h @ self._mean)[:, None]
        variance = numpy.einsum("ij,ij->i", h, h)
        variance /= width
        variance += 1e-8
        h *= (1 / numpy.sqrt(variance))[:, None]
        h *= self._gain
        return h

    def convolved(self, x: Floats, start: int, wanted: numpy.ndarray | None) -> Floats:
        """x plus this layer over windows of three rows: for the rows from ``start`` on, to as far from the
        end.

        With ``wanted`` for these places alone, and of shape (wanted, W).
        """
        width = self._width
        result = numpy.empty_like(x) if wanted is None else numpy.empty((len(wanted), width), "float32")
        for at, stop in _blocks(start, len(x) - start, wanted):
            block, y = self._windows[: stop - at], self._outputs[: stop - at]
            for part in range(3):
                column = block[:, part * width : (part + 1) * width]
                if wanted is None:
                    column[:] = x[at + part - 1 : stop + part - 1]
                else:
                    column[:] = x[wanted[at:stop] + (part - 1)]
            numpy.matmul(block, self.matrix, out=y)
            numpy.add(self.normalized(y), block[:, width : 2 * width], out=result[at:stop])
        return result


def _blocks(start: int, stop: int, wanted: numpy.ndarray | None) -> list[tuple[int, int]]:
    """Bounds of blocks of the rows from start to stop, or of the wanted ones."""
    if wanted is not None:
        start, stop = 0, len(wanted)
    return [(at, min(at + _BLOCK, stop)) for at in range(start, stop, _BLOCK)]
