package restapi

import (
	"fmt"
	"slices"
	"strings"

	"millrace/internal/fault"
)

// The rules of this package fail with a fault.Error whose Message is the service's own text, and of these kinds:
//
//	Invalid        the service's BadRequestException (ValidationException when the cause is a [ConstraintError])
//	NotFound       NotFoundException
//	InUse          ConflictException
//	LimitExceeded  LimitExceededException
//	Unsupported    what the service does and Millrace does not yet; the text names the member

// Violation is a value outside its model's enum, pattern or range.
type Violation struct {
	Value string // what was given
	Path  string // where: "statusCode", "putIntegrationInput.type"
	Rule  string // "Member must satisfy regular expression pattern: [1-5]\d\d"
}

// ConstraintError is the cause of an Invalid error that the service reports as a ValidationException.
type ConstraintError struct{ Violations []Violation }

func (e *ConstraintError) Error() string {
	parts := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		parts[i] = fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: %s", v.Value, v.Path, v.Rule)
	}
	noun := "errors"
	if len(parts) == 1 {
		noun = "error"
	}
	return fmt.Sprintf("%d validation %s detected: %s", len(parts), noun, strings.Join(parts, "; "))
}

func constraint(op string, violations ...Violation) error {
	return fault.New(fault.Invalid, op, "", "%w", &ConstraintError{violations})
}

// oneOf checks a value against an enum whose values are listed as the service prints them.
func oneOf(op, value, path string, enum ...string) error {
	if slices.Contains(enum, value) {
		return nil
	}
	return constraint(op, Violation{value, path, enumRule(enum)})
}

func enumRule(enum []string) string {
	return "Member must satisfy enum value set: [" + strings.Join(enum, ", ") + "]"
}

func invalid(op, format string, args ...any) error {
	return fault.New(fault.Invalid, op, "", format, args...)
}

func notFound(op, format string, args ...any) error {
	return fault.New(fault.NotFound, op, "", format, args...)
}

func conflict(op, format string, args ...any) error {
	return fault.New(fault.InUse, op, "", format, args...)
}

func tooMany(op, format string, args ...any) error {
	return fault.New(fault.LimitExceeded, op, "", format, args...)
}

// unsupported refuses what the service would take; member is its name as the caller wrote it.
func unsupported(op, member, why string) error {
	return fault.New(fault.Unsupported, op, member, "%s is not supported by this version of Millrace: %s", member, why)
}
