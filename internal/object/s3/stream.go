package s3

import (
	"context"
	"io"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// streamed is a large body of known length on its way through. It can't be read twice, so there is one attempt, and
// nothing is known of its bytes when the request begins, so the signature does not cover them. What guards them:
// a checksum that the caller knew goes with the request, and the service compares it; a body whose length or digests
// are wrong ends in an error before its last byte, so that the service gets less than was announced and stores nothing;
// and a checksum that the service answers with is compared with the one that was computed here.
type streamed struct {
	*incoming
	n   int64 // bytes given
	err error // why the body ended before its last byte
}

// Read gives all but the last byte as they come, and that one when the body has ended well.
func (b *streamed) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.n == b.size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case b.n == b.size-1:
		b.err = b.last(p[:1])
		if b.err != nil {
			return 0, b.err
		}
		b.n++
		return 1, nil
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.size-1-b.n)])
	b.digests.write(p[:n])
	b.n += int64(n)
	switch {
	case err == io.EOF:
		b.err = incomplete(b.op, b.at.key, b.n, b.size)
	case err != nil:
		b.err = bodyError(b.op, b.at.key, err)
	}
	return n, b.err
}

// last reads the last byte, and checks that it is the last and that the digests are right.
func (b *streamed) last(p []byte) error {
	n, err := b.fill(p)
	if err != nil {
		return err
	}
	var one [1]byte
	switch more, err := io.ReadFull(b.body, one[:]); err {
	case nil, io.EOF:
		n += more
	default:
		return bodyError(b.op, b.at.key, err)
	}
	return b.complete(b.n + int64(n))
}

// unsigned sends a body without its hash in the signature, once.
func unsigned(o *s3.Options) {
	once(o)
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// compare compares the checksums that the service answers with.
func (b *streamed) compare(stored []object.Checksum) error {
	for _, c := range stored {
		if h := b.digests.sums[c.Algorithm]; h != nil && !c.Composite && encoded(h) != c.Value {
			return fault.New(fault.Corrupt, b.op, b.at.String(), "the service stored bytes whose %s is %s, and was sent ones with %s; delete the object, and put it again",
				c.Algorithm, c.Value, encoded(h))
		}
	}
	return nil
}

// putStream stores a body in one request.
func (s *Store) putStream(ctx context.Context, in *incoming, o *object.PutOptions) (object.Info, error) {
	body := &streamed{incoming: in}
	request := putInput(in.at, o)
	request.Body, request.ContentLength = body, &in.size
	if c := in.digests.early(); c != nil {
		setChecksum(c, &request.ChecksumCRC32, &request.ChecksumCRC32C, &request.ChecksumCRC64NVME, &request.ChecksumSHA1, &request.ChecksumSHA256)
	}
	answer, err := s.client.PutObject(ctx, request, unsigned, expires(o.Expires))
	switch {
	case body.err != nil:
		return object.Info{}, body.err
	case err != nil:
		err = putError(in.op, in.at, o.Conditions, err)
		if s.refusesConditions(o.Conditions, err) { // the body is gone: the caller's next attempt looks first
			err = fault.New(fault.Unavailable, in.op, in.at.String(), "try again: %w", err)
		}
		return object.Info{}, err
	}
	info := putInfo(in.at, answer, o, in.size)
	return info, body.compare(info.Checksums)
}
