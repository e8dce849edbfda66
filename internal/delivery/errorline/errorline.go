// Package errorline writes the lines of error objects: a JSON document for each record
// that could not be processed or delivered, in the service's order of members.
//
// The functions append to a slice and keep nothing. Each line ends with a line feed.
//
// Source: Amazon Data Firehose Developer Guide (data transformation failure handling; record
// format conversion errors; data delivery failure handling), and lines recorded from the service, which win where the
// guide differs: lambdaARN and the order of its members.
package errorline

import (
	"strconv"
	"time"

	"millrace/internal/awswire"
)

// Failure is what all lines tell of a record.
type Failure struct {
	Raw      []byte // the record as it was before the step that failed
	Code     string // "Lambda.FunctionError"
	Message  string
	Attempts int
	Arrival  time.Time
	Ended    time.Time // of the last attempt
}

// AppendLambda appends the line of a record that a function did not transform.
func AppendLambda(dst []byte, f *Failure, lambdaARN string) []byte {
	dst = append(appendProcessing(dst, f), `,"lambdaARN":`...)
	return append(awswire.AppendString(dst, lambdaARN), "}\n"...)
}

// AppendPartitioning appends the line of a record that has no partition: no function's, and for the rest the same.
func AppendPartitioning(dst []byte, f *Failure) []byte {
	return append(appendProcessing(dst, f), "}\n"...)
}

func appendProcessing(dst []byte, f *Failure) []byte {
	dst = awswire.AppendBlob(append(dst, `{"rawData":`...), f.Raw)
	dst = awswire.AppendString(append(dst, `,"errorCode":`...), f.Code)
	dst = awswire.AppendString(append(dst, `,"errorMessage":`...), f.Message)
	dst = strconv.AppendInt(append(dst, `,"attemptsMade":`...), int64(f.Attempts), 10)
	dst = strconv.AppendInt(append(dst, `,"arrivalTimestamp":`...), f.Arrival.UnixMilli(), 10)
	return strconv.AppendInt(append(dst, `,"attemptEndingTimestamp":`...), f.Ended.UnixMilli(), 10)
}

// Place is a record's in its source. SequenceNumber is empty for Direct PUT, which has none.
type Place struct {
	SequenceNumber string
	Subsequence    int64
}

// Table is the one whose schema a record was converted by.
type Table struct{ CatalogID, DatabaseName, TableName, Region, VersionID, CatalogARN string }

// AppendConversion appends the line of a record that could not be converted. Members that have no value are null.
func AppendConversion(dst []byte, f *Failure, at Place, table *Table) []byte {
	dst = strconv.AppendInt(append(dst, `{"attemptsMade":`...), int64(f.Attempts), 10)
	dst = strconv.AppendInt(append(dst, `,"arrivalTimestamp":`...), f.Arrival.UnixMilli(), 10)
	dst = awswire.AppendString(append(dst, `,"lastErrorCode":`...), f.Code)
	dst = awswire.AppendString(append(dst, `,"lastErrorMessage":`...), f.Message)
	dst = strconv.AppendInt(append(dst, `,"attemptEndingTimestamp":`...), f.Ended.UnixMilli(), 10)
	dst = awswire.AppendBlob(append(dst, `,"rawData":`...), f.Raw)
	dst = appendOptional(append(dst, `,"sequenceNumber":`...), at.SequenceNumber)
	dst = append(dst, `,"subSequenceNumber":`...)
	if at.SequenceNumber == "" {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, at.Subsequence, 10)
	}
	dst = appendOptional(append(dst, `,"dataCatalogTable":{"catalogId":`...), table.CatalogID)
	dst = appendOptional(append(dst, `,"databaseName":`...), table.DatabaseName)
	dst = appendOptional(append(dst, `,"tableName":`...), table.TableName)
	dst = appendOptional(append(dst, `,"region":`...), table.Region)
	dst = appendOptional(append(dst, `,"versionId":`...), table.VersionID)
	dst = appendOptional(append(dst, `,"catalogArn":`...), table.CatalogARN)
	return append(dst, "}}\n"...)
}

// AppendHTTP appends the line of a record that an HTTP endpoint did not take. Its dataId is the sequence number and the
// place in it: "49607357361271740811418664280693044274821622880012337186.0".
func AppendHTTP(dst []byte, f *Failure, at Place) []byte {
	dst = strconv.AppendInt(append(dst, `{"attemptsMade":`...), int64(f.Attempts), 10)
	dst = strconv.AppendInt(append(dst, `,"arrivalTimestamp":`...), f.Arrival.UnixMilli(), 10)
	dst = awswire.AppendString(append(dst, `,"errorCode":`...), f.Code)
	dst = awswire.AppendString(append(dst, `,"errorMessage":`...), f.Message)
	dst = strconv.AppendInt(append(dst, `,"attemptEndingTimestamp":`...), f.Ended.UnixMilli(), 10)
	dst = awswire.AppendBlob(append(dst, `,"rawData":`...), f.Raw)
	dst = strconv.AppendInt(append(dst, `,"subsequenceNumber":`...), at.Subsequence, 10)
	dst = awswire.AppendString(append(dst, `,"dataId":`...), at.SequenceNumber)
	dst = append(dst[:len(dst)-1], '.')
	return append(strconv.AppendInt(dst, at.Subsequence, 10), "\"}\n"...)
}

func appendOptional(dst []byte, text string) []byte {
	if text == "" {
		return append(dst, "null"...)
	}
	return awswire.AppendString(dst, text)
}
