package s3

import (
	"strings"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
	"millrace/internal/object"
)

var listMultipartUploads = operation{run: func(c *call) error {
	var in s3wire.ListMultipartUploadsRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	most, err := bound(in.MaxUploads, "max-uploads")
	if err != nil {
		return err
	}
	encode := plainText
	if in.EncodingType == "url" {
		encode = urlText
	}
	list, err := c.Store.Uploads(c.ctx, c.bucket, awswire.Value(in.Prefix))
	if err != nil {
		return err
	}
	keyMarker, idMarker := awswire.Value(in.KeyMarker), awswire.Value(in.UploadIdMarker)
	list = uploadsAfter(list, keyMarker, idMarker)
	page := rollUpUploads(list, awswire.Value(in.Prefix), awswire.Value(in.Delimiter), keyMarker, most)
	out := s3wire.ListMultipartUploadsOutput{Bucket: new(c.bucket), KeyMarker: new(encode(keyMarker)), UploadIdMarker: new(idMarker),
		Prefix: new(encode(awswire.Value(in.Prefix))), MaxUploads: new(most), IsTruncated: new(page.truncated), EncodingType: in.EncodingType}
	if in.Delimiter != nil && *in.Delimiter != "" {
		out.Delimiter = new(encode(*in.Delimiter))
	}
	for _, u := range page.uploads {
		out.Uploads = append(out.Uploads, s3wire.MultipartUpload{UploadId: new(u.ID), Key: encode(u.Key), Initiated: u.Initiated, StorageClass: "STANDARD",
			Owner: c.ownerShape(), Initiator: &s3wire.Initiator{ID: new(c.owner)}, ChecksumAlgorithm: u.ChecksumAlgorithm, ChecksumType: uploadChecksumType(&u)})
	}
	for _, p := range page.prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, s3wire.CommonPrefix{Prefix: new(encode(p))})
	}
	if page.truncated {
		out.NextKeyMarker, out.NextUploadIdMarker = new(encode(page.lastKey)), new(page.lastID)
	}
	return c.answer(&out)
}}

// uploadsAfter leaves out what comes up to the markers: the upload that they name, and all before it.
func uploadsAfter(list []object.Upload, key, id string) []object.Upload {
	if key == "" {
		return list // an id alone is not looked at
	}
	seen := false // the marker among the uploads of its key
	var rest []object.Upload
	for _, u := range list {
		switch {
		case u.Key > key || u.Key == key && seen:
			rest = append(rest, u)
		case u.Key == key && id != "" && u.ID == id:
			seen = true
		}
	}
	return rest
}

type uploadPage struct {
	uploads         []object.Upload
	prefixes        []string
	truncated       bool
	lastKey, lastID string
}

func rollUpUploads(list []object.Upload, prefix, delimiter, after string, most int) (p uploadPage) {
	for _, u := range list {
		common := ""
		if i := strings.Index(u.Key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			common = u.Key[:len(prefix)+i+len(delimiter)]
			if common <= after || len(p.prefixes) > 0 && p.prefixes[len(p.prefixes)-1] == common {
				continue
			}
		}
		if len(p.uploads)+len(p.prefixes) >= most {
			p.truncated = most > 0
			return p
		}
		if common != "" {
			p.prefixes = append(p.prefixes, common)
			p.lastKey, p.lastID = common, ""
			continue
		}
		p.uploads = append(p.uploads, u)
		p.lastKey, p.lastID = u.Key, u.ID
	}
	return p
}
