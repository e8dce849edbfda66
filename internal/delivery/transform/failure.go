package transform

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"millrace/internal/outbound"
)

// Codes of failures, as the service writes them into error objects and logs.
const (
	CodeProcessingFailed    = "Lambda.ProcessingFailedStatus"
	CodeMissingRecordID     = "Lambda.MissingRecordId"
	CodeDuplicatedRecordID  = "Lambda.DuplicatedRecordId"
	CodeInvalidReturnFormat = "Lambda.InvalidReturnFormat"
	CodeFunctionError       = "Lambda.FunctionError"
	CodeJSONProcessing      = "Lambda.JsonProcessingException"
	CodeInvokeLimitExceeded = "Lambda.InvokeLimitExceeded"
	CodeInvokeAccessDenied  = "Lambda.InvokeAccessDenied"
	CodeResourceNotFound    = "Lambda.ResourceNotFound"
	CodeFunctionTimedOut    = "Lambda.FunctionTimedOut"
	CodeInternalServerError = "Lambda.InternalServerError"
	CodeServiceUnavailable  = "Lambda.ServiceUnavailable"
	CodeNoResponse          = "Lambda.TargetServerFailedToRespond"
	CodeInvocationFailure   = "Lambda.InvocationFailure"
	CodeRequestTooLarge     = "Lambda.RequestTooLargeException"
)

// Texts. Those of the first four, of FunctionError, null data and FunctionTimedOut are recorded from the service; those of
// JSON, the limit, access and the missing function are documented; the rest are our own.
const (
	messageProcessingFailed   = "ProcessingFailed status set for record"
	messageMissingRecordID    = "One or more record Ids were not returned. Ensure that the Lambda function returns all received record Ids."
	messageDuplicatedRecordID = "Multiple records were returned with the same record Id. Ensure that the Lambda function returns a unique record Id for each record."
	messageFunctionError      = "The Lambda function was successfully invoked but it returned an error result."
	messageNullData           = "The data field cannot be null when the SourceType is DirectPut or KinesisStreamAsSource and processing result is Ok. " +
		"The value field cannot be null when the SourceType is MSKAsSource and processing result is Ok."
	messageFunctionTimedOut = "The Lambda function invocation timed out. Increase the Timeout setting in the Lambda function."

	messageJSONProcessing = "There was an error parsing returned records from the Lambda function. Ensure that the returned records follow the " +
		"status model required by Amazon Data Firehose."
	messageInvokeLimit  = "The Lambda concurrent execution limit is exceeded. Increase the concurrent execution limit."
	messageAccessDenied = "Access was denied. Ensure that the access policy allows access to the Lambda function."
	messageNotFound     = "The specified Lambda function does not exist. Use a different function that does exist."

	messageResult          = "The result field must be Ok, Dropped or ProcessingFailed."
	messageBase64          = "The data of a record whose processing result is Ok must be base64."
	messagePartitionKeys   = "metadata.partitionKeys must be an object of at most 50 texts."
	messageRequestTooLarge = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
	messageStatus          = "The function's host answered with status %d."
	messageNoAnswer        = "The function's host closed the connection before its answer was whole: %v"
	messageNoConnection    = "The function's host can't be reached: %v"
)

// failure is why an attempt has no answer that says something of each record.
type failure struct {
	code, message string
	final         bool // trying again is in vain
}

var (
	functionError = &failure{code: CodeFunctionError, message: messageFunctionError}
	noJSON        = &failure{code: CodeJSONProcessing, message: messageJSONProcessing}
)

// byStatus judges an answer by its status; nil: it is the function's.
func byStatus(status int) *failure {
	f := &failure{message: fmt.Sprintf(messageStatus, status)}
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusTooManyRequests:
		f.code, f.message = CodeInvokeLimitExceeded, messageInvokeLimit
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.code, f.message = CodeInvokeAccessDenied, messageAccessDenied
	case status == http.StatusNotFound:
		f.code, f.message = CodeResourceNotFound, messageNotFound
	case status == http.StatusRequestEntityTooLarge:
		f.code, f.message, f.final = CodeRequestTooLarge, messageRequestTooLarge, true
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		f.code = CodeServiceUnavailable
	case status >= 500:
		f.code = CodeInternalServerError
	default: // redirects are not followed; 201 and its like are nobody's answer
		f.code = CodeInvocationFailure
	}
	return f
}

// unreached words a failure on the way. Errors of a transport hold addresses and never a URL, so that no credentials are in
// the text.
func unreached(ctx context.Context, reached outbound.Reached, err error) *failure {
	switch {
	case errors.Is(context.Cause(ctx), errCallTime):
		return &failure{code: CodeFunctionTimedOut, message: messageFunctionTimedOut}
	case reached == outbound.Connected:
		return &failure{code: CodeNoResponse, message: fmt.Sprintf(messageNoAnswer, err)}
	}
	return &failure{code: CodeServiceUnavailable, message: fmt.Sprintf(messageNoConnection, err)}
}
