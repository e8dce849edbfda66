package journal

// What stores write, each value sealed as format.go draws it. A store that rewrites a value which it has not changed
// writes the bytes that it has read, so that members of a later version stay.

// SealRow gives the bytes of a row.
func SealRow(r *Row) ([]byte, error) { return seal(rowMagic, r) }

// UnsealRow reads what SealRow wrote; where names the place for the operator.
func UnsealRow(sealed []byte, where string) (r Row, err error) {
	err = unseal(rowMagic, sealed, &r, where)
	return r, err
}

// SealManifest gives the bytes of a manifest.
func SealManifest(m *Manifest) ([]byte, error) { return seal(manifestMagic, m) }

// UnsealManifest reads what SealManifest wrote. Whether this program can finish it [Manifest.Check] tells.
func UnsealManifest(sealed []byte, where string) (*Manifest, error) {
	m := new(Manifest)
	return m, unseal(manifestMagic, sealed, m, where)
}

// SealFinal gives the bytes of final counts.
func SealFinal(f *Final) ([]byte, error) { return seal(finalMagic, f) }

// UnsealFinal reads what SealFinal wrote.
func UnsealFinal(sealed []byte, where string) (f Final, err error) {
	err = unseal(finalMagic, sealed, &f, where)
	return f, err
}
