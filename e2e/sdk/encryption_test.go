package sdk

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/e2e/node"
)

// Records of an encrypted stream can't be read from the data folder, and can by its API, before and after the node was
// started again, and when encryption has been stopped.
func TestEncryptedRecordsAtRest(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	n := start(t, node.Options{Data: data})
	defer func() { n.Kill() }() // whichever has not ended
	u := userOf(t, n)
	plain, _ := u.stream(t, "open", 1)
	sealed, _ := u.stream(t, "sealed", 1)
	must(u.StartStreamEncryption(u.ctx, &kinesis.StartStreamEncryptionInput{StreamName: sealed, EncryptionType: types.EncryptionTypeKms,
		KeyId: new("arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012")}))(t)
	u.active(t, sealed)
	// Texts without repetitions: what compresses could hide from a search.
	const openText, secretText = "Zwölf Boxkämpfer jagen Viktor quer", "Falsches Üben von Xylophonmusik quält"
	u.put(t, plain, openText)
	u.put(t, sealed, secretText)
	if !holds(t, data, openText) {
		t.Error("the search does not find what is plain: it proves nothing")
	}
	if holds(t, data, secretText) {
		t.Error("the plain text of an encrypted record lies in the data folder")
	}
	n.Kill()

	n = start(t, node.Options{Data: data})
	u = userOf(t, n)
	got := u.read(t, fromStart(sealed, shardID(0))).Records
	same(t, "records after a restart", texts(got), []string{secretText})
	equal(t, "encryption", got[0].EncryptionType, types.EncryptionTypeKms)
	u.put(t, sealed, secretText+"!")
	must(u.StopStreamEncryption(u.ctx, &kinesis.StopStreamEncryptionInput{StreamName: sealed, EncryptionType: types.EncryptionTypeKms,
		KeyId: new("arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012")}))(t)
	u.active(t, sealed)
	u.put(t, sealed, openText+"!")
	if holds(t, data, secretText) || !holds(t, data, openText+"!") {
		t.Error("what was put before encryption was stopped is sealed, and what came after is not")
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}

	u = userOf(t, up(t, node.Options{Data: data}))
	got = u.read(t, fromStart(sealed, shardID(0))).Records
	same(t, "records", texts(got), []string{secretText, secretText + "!", openText + "!"})
	equal(t, "types", fmt.Sprint(got[0].EncryptionType, "-", got[1].EncryptionType, "-", got[2].EncryptionType), "KMS-KMS-")
}

// holds searches all files of a folder.
func holds(t *testing.T, folder, text string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // the store has done with it meanwhile
		}
		found = found || bytes.Contains(content, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
