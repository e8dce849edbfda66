package s3

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/object"
)

// apiError is an answer that is no success: code, text and status as the service has them.
type apiError struct {
	Code    string
	Message string
	Status  int
	fields  []awswire.XMLField
	header  map[string]string
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// with adds an element to the body.
func (e *apiError) with(name, text string) *apiError {
	more := *e
	more.fields = append(append([]awswire.XMLField{}, e.fields...), awswire.XMLField{Name: name, Text: text})
	return &more
}

const notImplemented = "NotImplemented"

func newError(status int, code, message string) *apiError {
	return &apiError{Code: code, Message: message, Status: status}
}

var (
	errAccessDenied     = newError(403, "AccessDenied", "Access Denied")
	errMethodNotAllowed = newError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	errMalformedXML     = newError(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	errMissingLength    = newError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	errIncompleteBody   = newError(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	errInvalidPart      = newError(400, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
	errInvalidPartOrder = newError(400, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
	errEntityTooSmall   = newError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
	errPrecondition     = newError(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	errNotModified      = newError(304, "NotModified", "Not Modified")
	errSlowDown         = newError(503, "SlowDown", "Please reduce your request rate.")
	errInternal         = newError(500, "InternalError", "We encountered an internal error. Please try again.")
	errTrailer          = newError(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
	errBucketName       = newError(400, "InvalidBucketName", "The specified bucket is not valid.")
	errNoSuchVersion    = newError(404, "NoSuchVersion", "The specified version does not exist.")
	errMetadataTooLarge = newError(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size").
				with("MaxSizeAllowed", strconv.Itoa(object.MaxMetadataBytes))
)

func errInvalidArgument(message, name, value string) *apiError {
	return newError(400, "InvalidArgument", message).with("ArgumentName", name).with("ArgumentValue", value)
}

func errInvalidRequest(message string) *apiError { return newError(400, "InvalidRequest", message) }

// errUnsupported names what AWS knows and Millrace does not do.
func errUnsupported(what string) *apiError {
	return newError(501, notImplemented, what+" is not supported by Millrace.")
}

func errKeyTooLong(key string) *apiError {
	return newError(400, "KeyTooLongError", "Your key is too long").
		with("Size", strconv.Itoa(len(key))).with("MaxSizeAllowed", strconv.Itoa(object.MaxKeyBytes))
}

func errTooLarge(size int64) *apiError {
	return newError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").
		with("ProposedSize", strconv.FormatInt(size, 10)).with("MaxSizeAllowed", strconv.FormatInt(MaxObjectBytes, 10))
}

func errBadDigest(algorithm string) *apiError {
	switch algorithm {
	case "MD5":
		return newError(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	case object.PayloadSHA256:
		return newError(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return newError(400, "BadDigest", "The "+algorithm+" you specified did not match the calculated checksum.")
}

// wordError gives the answer for an error of the store, of the request's form, or of the signature.
func wordError(c *call, err error) *apiError {
	var auth *awswire.AuthFault
	var badXML *awswire.XMLError
	var badMember *awswire.SerializationError
	var digest *object.DigestError
	switch {
	case errors.As(err, &auth):
		return newError(auth.Status, auth.Code, auth.Message)
	case errors.As(err, &badXML):
		return errMalformedXML
	case errors.As(err, &badMember):
		return newError(400, "InvalidArgument", badMember.Message)
	case errors.As(err, &digest):
		return errBadDigest(digest.Algorithm)
	}
	for _, known := range byCause {
		if errors.Is(err, known.cause) {
			return known.answer.with("BucketName", c.bucketIfBucketCall())
		}
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return errInternal
	}
	return byKind(c, f)
}

// byCause words causes that share a kind.
var byCause = []struct {
	cause  error
	answer *apiError
}{
	{object.ErrIncompleteBody, errIncompleteBody},
	{object.ErrInvalidPart, errInvalidPart},
	{object.ErrPartOrder, errInvalidPartOrder},
	{object.ErrPartTooSmall, errEntityTooSmall},
	{object.ErrMetadataTooLarge, errMetadataTooLarge},
	{object.ErrBucketNotEmpty, newError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")},
	{object.ErrBucketExists, newError(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")},
}

func byKind(c *call, f *fault.Error) *apiError {
	switch f.Kind {
	case fault.NotFound:
		return missing(c, f)
	case fault.PreconditionFailed:
		return errPrecondition.with("Condition", c.failedCondition())
	case fault.Invalid:
		return newError(400, "InvalidArgument", f.Message())
	case fault.InUse:
		return newError(409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
	case fault.LimitExceeded:
		return newError(400, "TooManyBuckets", f.Message())
	case fault.Unsupported:
		return newError(501, notImplemented, f.Message())
	case fault.Denied:
		return errAccessDenied
	case fault.Throttled, fault.Unavailable:
		return errSlowDown
	}
	return errInternal
}

func missing(c *call, f *fault.Error) *apiError {
	switch {
	case strings.HasPrefix(f.Resource, object.MissingBucket):
		return newError(404, "NoSuchBucket", "The specified bucket does not exist").
			with("BucketName", strings.TrimPrefix(f.Resource, object.MissingBucket))
	case strings.HasPrefix(f.Resource, object.MissingUpload):
		return newError(404, "NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.").
			with("UploadId", strings.TrimPrefix(f.Resource, object.MissingUpload))
	}
	return newError(404, "NoSuchKey", "The specified key does not exist.").with("Key", strings.TrimPrefix(f.Resource, object.MissingKey))
}

func (c *call) bucketIfBucketCall() string {
	if c.key != "" {
		return ""
	}
	return c.bucket
}

// failedCondition names the header that did not hold.
func (c *call) failedCondition() string {
	for _, name := range []string{"If-None-Match", "If-Match"} {
		if c.r.Header.Get(name) != "" {
			return name
		}
	}
	return ""
}

// rangeError is 416.
func rangeError(asked string, size int64) *apiError {
	e := newError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable").
		with("RangeRequested", asked).with("ActualObjectSize", strconv.FormatInt(size, 10))
	e.header = map[string]string{"Content-Range": "bytes */" + strconv.FormatInt(size, 10)}
	return e
}
