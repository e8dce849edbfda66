package s3

import "millrace/internal/object"

// putObject streams the body into the store. When the caller sends no checksum, CRC64NVME is computed and kept, as the
// service does.
var putObject = operation{
	note: "x-amz-server-side-encryption AES256 and x-amz-acl private have no effect; other encryption, ACLs, storage classes and locks are refused",
	run: func(c *call) error {
		if c.query.Has("uploadId") || c.query.Has("partNumber") {
			return errInvalidArgument("This operation does not accept a query-string.", "uploadId", c.query.Get("uploadId"))
		}
		if err := c.checkLength(); err != nil {
			return err
		}
		attrs, err := c.attributes()
		if err != nil {
			return err
		}
		cond, err := c.conditions()
		if err != nil {
			return err
		}
		d, err := c.digests()
		if err != nil {
			return err
		}
		if d.algorithm == "" {
			d.algorithm = object.CRC64NVME
		}
		info, err := c.Store.Put(c.ctx, c.bucket, c.key, c.body(), c.payload.Length, object.PutOptions{
			Attributes: attrs, Conditions: cond, Want: d.Digests, Trailer: d.trailer, Compute: d.algorithm})
		if err != nil {
			return err
		}
		h := c.w.Header()
		h["Etag"] = []string{quoted(info.ETag)}
		setChecksums(h, info.Checksums)
		return c.answerEmpty()
	},
}

// checkLength looks at the announced length of an object's or a part's body.
func (c *call) checkLength() error {
	switch {
	case c.payload.Length < 0:
		return errMissingLength
	case c.payload.Length > MaxObjectBytes:
		return errTooLarge(c.payload.Length)
	}
	return nil
}
