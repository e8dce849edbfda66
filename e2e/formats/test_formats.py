"""Files that delivery streams make, read by programs of others. Run by e2e/formats/run."""

import base64
import datetime
import decimal
import gzip
import io
import json
import os
import random
import subprocess
import tempfile
import unittest
import zipfile

import duckdb
import pyarrow
import pyarrow.parquet
from snappy.snappy import hadoop_stream_decompress

HERE = os.path.dirname(os.path.abspath(__file__))


def encode(kind, data, path):
    """Makes the file and gives what the program prints."""
    done = subprocess.run([os.environ["ENCODE"], kind, path], input=data, capture_output=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return done.stdout


def sample(size):
    """Bytes that compress, and some that do not."""
    source = random.Random(1)
    out = bytearray()
    while len(out) < size:
        out += json.dumps({"id": len(out), "type": "view", "path": "/shop/%d" % source.randrange(1000)}).encode() + b"\n"
        if source.randrange(3000) == 0:
            out += source.randbytes(100_000)
    return bytes(out[:size])


class Folder(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "object")


class Compressions(Folder):
    def each_size(self, kind, read):
        for size in (0, 1, 32 << 10, (64 << 10) + 1, 1_000_000):
            with self.subTest(kind=kind, size=size):
                data = sample(size)
                encode(kind, data, self.path)
                self.assertEqual(read(self.path), data)

    def test_gzip(self):
        def read(path):
            with gzip.open(path) as f:
                return f.read()

        self.each_size("GZIP", read)

    def test_zip(self):
        def read(path):
            with zipfile.ZipFile(path) as z:
                self.assertIsNone(z.testzip())
                self.assertEqual(z.namelist(), ["5a1d1d9e-8d0c-4b4e-9d5e-0123456789ab"])
                return z.read(z.namelist()[0])

        self.each_size("ZIP", read)

    def test_hadoop_snappy(self):
        def read(path):
            out = io.BytesIO()
            with open(path, "rb") as f:
                hadoop_stream_decompress(f, out)
            return out.getvalue()

        self.each_size("HADOOP_SNAPPY", read)

    def test_snappy_java(self):
        def read(path):
            classpath = os.pathsep.join(os.path.join(HERE, ".artifacts", *p) for p in (["target", "classes"], ["lib", "*"]))
            return subprocess.run(["java", "-Xmx64m", "-cp", classpath, "millrace.Unsnap", path], stdout=subprocess.PIPE, check=True, timeout=120).stdout

        self.each_size("Snappy", read)


OUTPUTS = [
    {"compression": compression, "writerVersion": version, "enableDictionaryCompression": dictionary, "pageSizeBytes": 65536}
    for compression in ("SNAPPY", "GZIP", "UNCOMPRESSED")
    for version in ("V1", "V2")
    for dictionary in (False, True)
]

COLUMNS = {
    "zz": "tinyint",
    "aa": "smallint",
    "i": "int",
    "b": "bigint",
    "f": "float",
    "d": "double",
    "t": "boolean",
    "s": "string",
    "v": "varchar(3)",
    "y": "binary",
    "dt": "date",
    "ts": "timestamp",
    "d9": "decimal(9,2)",
    "d18": "decimal(18,4)",
    "d38": "decimal(38,10)",
    "l": "array<int>",
    "ll": "array<array<string>>",
    "m": "map<string,bigint>",
    "mi": "map<int,array<double>>",
    "st": "struct<x:int,inner:struct<tags:array<string>,at:timestamp>>",
    "ls": "array<struct<sku:string,price:decimal(20,2),attributes:map<string,string>>>",
}

# The same as pyarrow sees it: everything may be null.
SCHEMA = {
    "zz": "int8",
    "aa": "int16",
    "i": "int32",
    "b": "int64",
    "f": "float",
    "d": "double",
    "t": "bool",
    "s": "string",
    "v": "string",
    "y": "binary",
    "dt": "date32[day]",
    "ts": "timestamp[us]",
    "d9": "decimal128(9, 2)",
    "d18": "decimal128(18, 4)",
    "d38": "decimal128(38, 10)",
    "l": "list<element: int32>",
    "ll": "list<element: list<element: string>>",
    "m": "map<string, int64 ('m')>",
    "mi": "map<int32, list<element: double> ('mi')>",
    "st": "struct<x: int32, inner: struct<tags: list<element: string>, at: timestamp[us]>>",
    "ls": "list<element: struct<sku: string, price: decimal128(20, 2), attributes: map<string, string ('attributes')>>>",
}

NOTHING = dict.fromkeys(COLUMNS)


def at(*parts):
    return datetime.datetime(*parts)


# Records and the rows that they are.
ROWS = [
    ("{}", [{}]),
    (
        '{"zz":-128,"aa":32767,"i":-2147483648,"b":9223372036854775807,"f":0.25,"d":-1.5e-300,"t":true,"s":"Z\\u00fcrich \\ud83d\\ude00","v":"abcd",'
        '"y":"AP8=","dt":"2024-02-29","ts":"2026-07-13T14:05:09.123456Z","d9":-1234567.895,"d18":"12345678901234.5678","d38":-0.0000000001}',
        [
            {
                "zz": -128, "aa": 32767, "i": -2147483648, "b": 9223372036854775807, "f": 0.25, "d": -1.5e-300, "t": True, "s": "Zürich 😀", "v": "abc",
                "y": b"\0\xff", "dt": datetime.date(2024, 2, 29), "ts": at(2026, 7, 13, 14, 5, 9, 123456), "d9": decimal.Decimal("-1234567.90"),
                "d18": decimal.Decimal("12345678901234.5678"), "d38": decimal.Decimal("-0.0000000001"),
            }
        ],
    ),
    ('{"ts":"1969-12-31 23:59:59.5"}{"ts":"0001-01-01 00:00:00"}{"ts":1783951509}', [{"ts": at(1969, 12, 31, 23, 59, 59, 500000)}, {"ts": at(1, 1, 1)}, {"ts": at(2026, 7, 13, 14, 5, 9)}]),
    ('{"l":[1,null,3],"ll":[["a",null],[],null],"m":{"A":1,"b":null},"mi":{"1":[0.5],"-2":null,"3":[]}}',
     [{"l": [1, None, 3], "ll": [["a", None], [], None], "m": [("A", 1), ("b", None)], "mi": [(1, [0.5]), (-2, None), (3, [])]}]),
    ('{"l":[],"ll":[],"m":{},"mi":{},"st":{},"ls":[]}', [{"l": [], "ll": [], "m": [], "mi": [], "st": {"x": None, "inner": None}, "ls": []}]),
    ('{"zz":1000}', []),
    (
        '{"st":{"x":1,"inner":{"tags":["p","q"],"at":1}},"ls":[{"sku":"k","price":-99.99,"attributes":{"c":"red"}},null,{}]}',
        [
            {
                "st": {"x": 1, "inner": {"tags": ["p", "q"], "at": at(1970, 1, 1, 0, 0, 1)}},
                "ls": [{"sku": "k", "price": decimal.Decimal("-99.99"), "attributes": [("c", "red")]}, None, {"sku": None, "price": None, "attributes": None}],
            }
        ],
    ),
    ('{"st":{"inner":{}}}', [{"st": {"x": None, "inner": {"tags": None, "at": None}}}]),
]


class Parquet(Folder):
    def convert(self, columns, output, records):
        spec = {"columns": [{"name": n, "type": t} for n, t in columns.items()], "openX": {}, "output": output}
        return json.loads(encode("PARQUET", json.dumps({"spec": spec, "records": records}).encode(), self.path))

    def test_types_and_values(self):
        wanted = [NOTHING | row for _, rows in ROWS for row in rows]
        for output in OUTPUTS:
            with self.subTest(output=output):
                failures = self.convert(COLUMNS, output, [record for record, _ in ROWS])
                self.assertEqual(list(failures), ["5"])
                self.assertEqual(failures["5"]["Code"], "DataFormatConversion.MalformedData")

                table = pyarrow.parquet.read_table(self.path, coerce_int96_timestamp_unit="us")
                self.assertEqual([(f.name, str(f.type), f.nullable) for f in table.schema], [(n, t, True) for n, t in SCHEMA.items()])
                self.assertEqual(table.to_pylist(), wanted)

                got = duckdb.sql(f"select * from read_parquet('{self.path}')")
                self.assertEqual(got.columns, list(COLUMNS))
                rows = [dict(zip(got.columns, row)) for row in got.fetchall()]
                self.assertEqual(rows, [self.as_duckdb(row) for row in wanted])

    def as_duckdb(self, row):
        """DuckDB gives maps as dictionaries."""
        row = dict(row)
        for name in ("m", "mi"):
            row[name] = row[name] if row[name] is None else dict(row[name])
        if row["ls"]:
            row["ls"] = [e if not e or e["attributes"] is None else e | {"attributes": dict(e["attributes"])} for e in row["ls"]]
        return row

    def test_plain_integers_bear_no_annotation(self):
        self.convert({"i": "int", "b": "bigint", "ts": "timestamp"}, {}, ["{}"])
        schema = pyarrow.parquet.ParquetFile(self.path).schema
        self.assertEqual([(c.physical_type, c.logical_type.type) for c in (schema.column(i) for i in range(3))], [("INT32", "NONE"), ("INT64", "NONE"), ("INT96", "NONE")])

    def test_statistics_lead_to_every_row(self):
        """Many pages and row groups; a reader that skips by their bounds finds the same as one that counts here."""
        columns = {"n": "bigint", "s": "string", "t": "timestamp", "d": "decimal(30,3)", "e": "decimal(12,3)", "y": "binary", "l": "array<int>"}
        source = random.Random(2)
        rows = []
        for i in range(20_000):
            text = "%05d" % (i * 7919 % 20_000) + "é" * source.randrange(200) + "x" * source.randrange(300)
            rows.append((i // 3, text if i % 11 else None, 1_700_000_000 + i * 37, (i - 10_000) * 999, source.randbytes(source.randrange(400)), list(range(i % 4))))
        records = [
            json.dumps({"n": n, "s": s, "t": t, "d": f"{d}.125", "e": f"{d}.125", "y": base64.b64encode(y).decode(), "l": l}, ensure_ascii=False)
            for n, s, t, d, y, l in rows
        ]
        for output in OUTPUTS:
            with self.subTest(output=output):
                self.assertEqual(self.convert(columns, output, records), {})
                table = pyarrow.parquet.read_table(self.path)
                self.assertEqual(table.column("s").to_pylist(), [r[1] for r in rows])
                self.assertEqual(table.column("y").to_pylist(), [r[4] for r in rows])
                self.assertEqual(table.column("l").to_pylist(), [r[5] for r in rows])

                def count(where, wanted):
                    got = duckdb.sql(f"select count(*) from read_parquet('{self.path}') where {where}").fetchall()[0][0]
                    self.assertEqual(got, wanted, where)

                for i in (0, 1, 9_999, 10_000, 19_999):
                    n, s, _, d, y, _ = rows[i]
                    count(f"n = {n}", sum(r[0] == n for r in rows))
                    count(f"d = {d}.125", 1)
                    count(f"e = {d}.125", 1)
                    count(f"d < {d}.125", i)
                    count(f"t >= timestamp '2023-11-14 22:13:20' + interval {i * 37} seconds", 20_000 - i)
                    if s is not None:
                        count(f"s = '{s}'", 1)
                        count(f"s >= '{s}'", sum(r[1] is not None and r[1] >= s for r in rows))
                count("s is null", sum(r[1] is None for r in rows))
                self.filters(rows)

    def filters(self, rows):
        for filters, wanted in [
            ([("n", "==", 3333)], sum(r[0] == 3333 for r in rows)),
            ([("s", ">", "19990")], sum(r[1] is not None and r[1] > "19990" for r in rows)),
            ([("d", "<", decimal.Decimal("-9000000.000"))], sum(r[3] * 1000 + (125 if r[3] >= 0 else -125) < -9_000_000_000 for r in rows)),
        ]:
            got = pyarrow.parquet.read_table(self.path, filters=filters).num_rows
            self.assertEqual(got, wanted, filters)

    def test_row_groups(self):
        source = random.Random(3)
        records = [json.dumps({"s": source.randbytes(20_000).hex(), "i": i}) for i in range(1500)]
        self.assertEqual(self.convert({"s": "string", "i": "int"}, {"compression": "UNCOMPRESSED"}, records), {})
        metadata = pyarrow.parquet.ParquetFile(self.path).metadata
        self.assertGreater(metadata.num_row_groups, 1)
        self.assertEqual([i for (i,) in duckdb.sql(f"select i from read_parquet('{self.path}')").fetchall()], list(range(1500)))
        self.assertEqual(metadata.created_by, "millrace version 1(build parquet-go)")


if __name__ == "__main__":
    unittest.main()
