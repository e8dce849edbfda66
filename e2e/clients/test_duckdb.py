"""DuckDB's httpfs against the built binary: COPY in parts, globs by listings, and Parquet by ranges."""

import pathlib

import duckdb
import duckdb_extension_httpfs

from node import NodeTest


class DuckDB(NodeTest):
    def setUp(self):
        extension = next(pathlib.Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension"))
        self.db = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        self.addCleanup(self.db.close)
        self.db.execute(f"LOAD '{extension}'")
        self.db.execute("SET s3_uploader_max_filesize = '50GB'")  # parts of 5 MB
        self.style("path")

    def style(self, style):
        """Names the bucket in the path or in the host."""
        self.db.execute("CREATE OR REPLACE SECRET s (TYPE s3, KEY_ID 'AKIDEXAMPLE', SECRET 'anything', REGION 'us-east-1', USE_SSL false, "
                        f"URL_STYLE '{style}', ENDPOINT 'localhost:{self.node.aws.rsplit(':')[-1]}')")

    def ask(self, query):
        return self.db.execute(query).fetchall()

    def test_parquet_goes_and_comes(self):
        self.node.client("s3").create_bucket(Bucket="duck")
        self.ask("COPY (SELECT range AS i, hash(range) AS h FROM range(3000000)) TO 's3://duck/big.parquet' (FORMAT parquet)")
        head = self.node.client("s3").head_object(Bucket="duck", Key="big.parquet")
        self.assertGreater(head["ContentLength"], 20 << 20)
        self.assertRegex(head["ETag"], "-[0-9]+\"$", "it was sent in parts")
        self.assertEqual(self.ask("SELECT count(*), sum(i) FROM 's3://duck/big.parquet'"), [(3000000, 4499998500000)])
        self.style("vhost")
        self.assertEqual(self.ask("SELECT max(h) = hash(i) FROM 's3://duck/big.parquet' WHERE i = 2999999 GROUP BY i"), [(True,)])
        self.ask("COPY (SELECT range AS i, range % 3 AS y FROM range(1000)) TO 's3://duck/part' (FORMAT parquet, PARTITION_BY (y))")
        self.assertEqual(self.ask("SELECT y, count(*) FROM read_parquet('s3://duck/part/**/*.parquet') GROUP BY y ORDER BY y"),
                         [(0, 334), (1, 333), (2, 333)])
        self.assertEqual(self.ask("SELECT count(*) FROM glob('s3://duck/part/y=1/*')"), [(1,)])
        self.assertEqual(self.ask("SELECT count(*) FROM read_parquet('s3://duck/*/*/*.parquet') WHERE y = 2"), [(333,)])

    def test_text_and_what_is_not_there(self):
        s3 = self.node.client("s3")
        s3.create_bucket(Bucket="ducklings")
        for hour in range(3):
            s3.put_object(Bucket="ducklings", Key=f"2026/11/24/{hour:02}/events", Body=b'{"n": 1}\n{"n": 2}\n')
        self.assertEqual(self.ask("SELECT count(*), sum(n) FROM read_json('s3://ducklings/2026/11/24/*/events')"), [(6, 9)])
        with self.assertRaises(duckdb.Error):
            self.ask("SELECT * FROM 's3://ducklings/none.parquet'")
