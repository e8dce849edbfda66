"""rclone against the built binary: its two ways to talk to S3."""

import filecmp
import os
import pathlib
import subprocess
import tempfile

from node import NodeTest


class Rclone(NodeTest):
    def rclone(self, *args, provider):
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}  # of these it reads some, as of a CA bundle
        env.update(RCLONE_CONFIG="/dev/null", RCLONE_RETRIES="1", RCLONE_LOW_LEVEL_RETRIES="1", RCLONE_CONFIG_M_TYPE="s3",
                   RCLONE_CONFIG_M_PROVIDER=provider, RCLONE_CONFIG_M_ENDPOINT=self.node.aws, RCLONE_CONFIG_M_REGION="us-east-1", RCLONE_CONFIG_M_ACCESS_KEY_ID="AKIDEXAMPLE",
                   RCLONE_CONFIG_M_SECRET_ACCESS_KEY="anything")
        if provider == "AWS":
            # It names the bucket in the host, whose name not every machine resolves: a proxy needs no name, and the node
            # takes what is sent to one.
            env.update(RCLONE_CONFIG_M_ENDPOINT="http://s3.localhost:" + self.node.aws.rsplit(":")[-1], http_proxy=self.node.aws)
        done = subprocess.run(["rclone", *args], env=env, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"rclone {' '.join(args)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def test_sync_both_ways(self):
        for provider in "AWS", "Other":  # virtual host and listings of version 2; path and version 1
            with self.subTest(provider), tempfile.TemporaryDirectory() as folder:
                bucket = "m:rclone-" + provider.lower()
                source, back = pathlib.Path(folder) / "source", pathlib.Path(folder) / "back"
                (source / "deep" / "er").mkdir(parents=True)
                (source / "large").write_bytes(os.urandom(13 << 20))
                (source / "deep" / "b c+ü%.txt").write_text("text")
                (source / "deep" / "er" / "gone").write_text("soon")
                self.rclone("mkdir", bucket, provider=provider)
                self.rclone("mkdir", bucket, provider=provider)  # whose is it? ours: no error
                self.rclone("sync", "--s3-upload-cutoff", "10M", "--s3-chunk-size", "5M", str(source), bucket + "/x", provider=provider)
                self.rclone("check", "--download", str(source), bucket + "/x", provider=provider)
                (source / "deep" / "er" / "gone").unlink()
                self.rclone("sync", str(source), bucket + "/x", provider=provider)
                listed = self.rclone("lsf", "-R", "--files-only", bucket, provider=provider).split("\n")
                self.assertEqual(sorted(listed), ["", "x/deep/b c+ü%.txt", "x/large"])
                self.rclone("sync", bucket + "/x", str(back), provider=provider)
                self.assertEqual(filecmp.cmpfiles(source, back, ["large", "deep/b c+ü%.txt"], shallow=False)[0], ["large", "deep/b c+ü%.txt"])
                self.assertEqual(int((back / "large").stat().st_mtime), int((source / "large").stat().st_mtime), "kept as x-amz-meta-mtime")
                self.rclone("moveto", bucket + "/x/large", bucket + "/y/large", provider=provider)
                self.assertIn("y/large", self.rclone("lsf", "-R", bucket, provider=provider))
                self.rclone("purge", bucket, provider=provider)
                self.assertNotIn("rclone-" + provider.lower(), self.rclone("lsf", "m:", provider=provider))
