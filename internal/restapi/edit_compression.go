package restapi

import "strconv"

// maxCompressionSize is the service's: the largest payload.
const maxCompressionSize = 10 << 20

// SetMinimumCompressionSize says how long a body has to be to be compressed; nil turns compression off.
func (d *Definition) SetMinimumCompressionSize(size *int) error {
	if size != nil && (*size < 0 || *size > maxCompressionSize) {
		return badCompressionSize("restapi.SetMinimumCompressionSize")
	}
	d.MinimumCompressionSize = nil
	if size != nil {
		d.MinimumCompressionSize = new(*size)
	}
	return nil
}

func badCompressionSize(op string) error {
	return invalid(op, "Invalid minimum compression size, must be between 0 and %d", maxCompressionSize)
}

// patchCompression takes a number, or nothing, which turns compression off.
func (a *API) patchCompression(p Patch) error {
	const op = "restapi.Patch"
	if p.Op != OpReplace {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	if p.Value == "" {
		return a.SetMinimumCompressionSize(nil)
	}
	size, err := strconv.Atoi(p.Value)
	if err != nil {
		return badCompressionSize(op)
	}
	return a.SetMinimumCompressionSize(&size)
}
