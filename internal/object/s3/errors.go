package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// conditionalConflict: two conditional writes of one key met, and the service asks to try again.
const conditionalConflict = "ConditionalRequestConflict"

// place is what a call was about.
type place struct {
	bucket, key, upload string
}

func (p place) String() string {
	if p.key == "" {
		return p.bucket
	}
	return p.bucket + "/" + p.key
}

// meaning of an error code.
type meaning struct {
	kind  fault.Kind
	cause error // of package object, when a surface words it in its own way
}

// byCode has the codes of the service's Error Responses page that tell more than their status does.
var byCode = map[string]meaning{
	"PreconditionFailed":      {fault.PreconditionFailed, nil},
	conditionalConflict:       {fault.Unavailable, nil},
	"OperationAborted":        {fault.Unavailable, nil},
	"BucketAlreadyExists":     {fault.InUse, object.ErrBucketExists},
	"BucketAlreadyOwnedByYou": {fault.InUse, object.ErrBucketExists},
	"BucketNotEmpty":          {fault.InUse, object.ErrBucketNotEmpty},
	"TooManyBuckets":          {fault.LimitExceeded, nil},
	"InvalidPart":             {fault.Invalid, object.ErrInvalidPart},
	"InvalidPartOrder":        {fault.Invalid, object.ErrPartOrder},
	"EntityTooSmall":          {fault.Invalid, object.ErrPartTooSmall},
	"MetadataTooLarge":        {fault.Invalid, object.ErrMetadataTooLarge},
	// The bytes and their digests were compared here before they were sent: they have changed on their way.
	"BadDigest":                   {fault.Unavailable, nil},
	"XAmzContentSHA256Mismatch":   {fault.Unavailable, nil},
	"XAmzContentChecksumMismatch": {fault.Unavailable, nil},
	"IncompleteBody":              {fault.Unavailable, nil},
	"RequestTimeout":              {fault.Unavailable, nil},
	"SlowDown":                    {fault.Throttled, nil},
	"Throttling":                  {fault.Throttled, nil},
	"ThrottlingException":         {fault.Throttled, nil},
	"RequestLimitExceeded":        {fault.Throttled, nil},
	"TooManyRequests":             {fault.Throttled, nil},
	"InvalidAccessKeyId":          {fault.Denied, nil},
	"SignatureDoesNotMatch":       {fault.Denied, nil},
	"ExpiredToken":                {fault.Denied, nil},
	"InvalidToken":                {fault.Denied, nil},
	"TokenRefreshRequired":        {fault.Denied, nil},
	"RequestTimeTooSkewed":        {fault.Denied, nil},
	"NotImplemented":              {fault.Unsupported, nil},
	"MethodNotAllowed":            {fault.Unsupported, nil},
}

// byStatus decides about the other codes, and about HEAD, whose answers have none.
func byStatus(status int) fault.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Denied
	case status == http.StatusNotFound:
		return fault.NotFound
	case status == http.StatusPreconditionFailed:
		return fault.PreconditionFailed
	case status == http.StatusTooManyRequests:
		return fault.Throttled
	case status == http.StatusNotImplemented, status == http.StatusMethodNotAllowed:
		return fault.Unsupported
	case status == http.StatusConflict, status >= 500:
		return fault.Unavailable
	case status >= 300: // 3xx: the bucket is in another region or at another endpoint
		return fault.Invalid
	}
	return fault.Unavailable // no answer, or one that can't be read
}

// codeOf gives the code and the status of the service's answer; zero values: there was none.
func codeOf(err error) (code string, status int) {
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	return code, status
}

// wordError makes a fault.Error of what the SDK has returned.
func wordError(op string, at place, err error) error {
	var ours *fault.Error
	if errors.As(err, &ours) {
		return fault.New(ours.Kind, op, at.String(), "%w", err)
	}
	code, status := codeOf(err)
	switch code {
	case "NoSuchBucket", "InvalidBucketName":
		return fault.New(fault.NotFound, op, object.MissingBucket+at.bucket, "%w", cause(err))
	case "NoSuchKey", "NoSuchVersion":
		return fault.New(fault.NotFound, op, object.MissingKey+at.key, "%w", cause(err))
	case "NoSuchUpload":
		return fault.New(fault.NotFound, op, object.MissingUpload+at.upload, "%w", cause(err))
	}
	m, known := byCode[code]
	if !known {
		m.kind = byStatus(status)
	}
	var creds credentialsError
	switch {
	case errors.As(err, &creds) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		return fault.New(fault.Denied, op, at.String(), "no credentials: %w", creds)
	case m.kind == fault.NotFound:
		return fault.New(fault.NotFound, op, missing(at), "%w", cause(err))
	case m.cause != nil:
		return fault.New(m.kind, op, at.String(), "%w: %w", m.cause, cause(err))
	}
	return fault.New(m.kind, op, at.String(), "%w", cause(err))
}

// missing names what a 404 without a code is about.
func missing(at place) string {
	switch {
	case at.upload != "":
		return object.MissingUpload + at.upload
	case at.key != "":
		return object.MissingKey + at.key
	}
	return object.MissingBucket + at.bucket
}

// cause leaves out what the SDK says about itself, and keeps what the service or the network said.
func cause(err error) error {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() != 0 {
		return &answer{response}
	}
	var send *smithyhttp.RequestSendError
	if errors.As(err, &send) {
		return fmt.Errorf("no answer: %w", send.Err)
	}
	var operation *smithy.OperationError
	if errors.As(err, &operation) {
		return operation.Err
	}
	return err
}

// answer is an error of the service in few words.
type answer struct{ *smithyhttp.ResponseError }

func (a *answer) Error() string {
	status := a.HTTPStatusCode()
	var api smithy.APIError
	switch {
	case errors.As(a.Err, &api):
		return fmt.Sprintf("the service answers %d %s", status, strings.TrimSuffix(api.ErrorCode()+": "+api.ErrorMessage(), ": "))
	case status < 300: // and what it says then can't be read
		return fmt.Sprintf("the service answers %d: %v", status, a.Err)
	}
	return fmt.Sprintf("the service answers %d %s", status, http.StatusText(status))
}

func (a *answer) Unwrap() error { return a.ResponseError }
