package object

import "strings"

// The settings of a bucket, which its surfaces keep and read: the API and definition files. Each is absent in a fresh
// bucket; each states what holds anyway, but for the policy, whose denials are evaluated.
const (
	SettingVersioning   = "versioning"          // "Suspended"
	SettingAccelerate   = "accelerate"          // "Suspended"
	SettingEncryption   = "encryption"          // see EncryptionSetting
	SettingPublicAccess = "public-access-block" // see PublicAccessSetting, or SettingNone
	SettingOwnership    = "ownership-controls"  // SettingNone
	SettingPolicy       = "policy"              // JSON

	SettingNone = "none" // it was deleted, and a fresh bucket has one
)

// EncryptionSetting is the text of SettingEncryption, "KEY,BLOCKED…": whether a bucket has a bucket key, and the kinds of
// encryption that it blocks.
func EncryptionSetting(bucketKey bool, blocked []string) string {
	text := ""
	if bucketKey {
		text = "key"
	}
	for _, kind := range blocked {
		text += "," + kind
	}
	return text
}

// ReadEncryptionSetting takes the text apart.
func ReadEncryptionSetting(text string) (bucketKey bool, blocked []string) {
	key, kinds, has := strings.Cut(text, ",")
	if has {
		blocked = strings.Split(kinds, ",")
	}
	return key == "key", blocked
}

// PublicAccess are the flags of a public access block.
type PublicAccess struct{ BlockACLs, IgnoreACLs, BlockPolicy, RestrictBuckets bool }

// AllBlocked is the public access block of a fresh bucket.
var AllBlocked = PublicAccess{true, true, true, true}

// PublicAccessSetting is the text of SettingPublicAccess, "1011"; empty: that of a fresh bucket.
func PublicAccessSetting(p PublicAccess) string {
	if p == AllBlocked {
		return ""
	}
	text := []byte("0000")
	for i, on := range []bool{p.BlockACLs, p.IgnoreACLs, p.BlockPolicy, p.RestrictBuckets} {
		if on {
			text[i] = '1'
		}
	}
	return string(text)
}

// ReadPublicAccessSetting takes the text apart; ok is false when the bucket has no block.
func ReadPublicAccessSetting(text string) (p PublicAccess, ok bool) {
	const flags = 4
	switch {
	case text == "":
		return AllBlocked, true
	case len(text) != flags || text == SettingNone:
		return p, false
	}
	return PublicAccess{text[0] == '1', text[1] == '1', text[2] == '1', text[3] == '1'}, true
}
