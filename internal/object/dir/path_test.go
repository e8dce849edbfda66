package dir

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"millrace/internal/object"
)

func TestNames(t *testing.T) {
	f := func(key, want string) {
		t.Helper()
		if got := strings.Join(names(key, false), "/"); got != want {
			t.Errorf("%q becomes %q, want %q", key, got, want)
		}
	}
	f("2026/11/24/01/class-stream-1-2026", "2026/11/24/01/class-stream-1-2026")
	f("a", "a")
	f("a/", "a/%_")
	f("a//b", "a/%_/b")
	f("/", "%_/%_")
	f(".", "%2E")
	f("../x", "%2E%2E/x")
	f("...", "...")
	f(".hidden/..data", ".hidden/..data")
	f("100%", "100%25")
	f("a%2Fb", "a%252Fb")
	f("nul\x00", "nul%00")
	f("Ä B:c", "Ä B:c")
	f(strings.Repeat("x", 256), strings.Repeat("x", 240)+"%-/"+strings.Repeat("x", 16))
	f(strings.Repeat("x", 240)+"..", strings.Repeat("x", 240)+"%-/%2E%2E")
	f(strings.Repeat("x", 239)+"é", strings.Repeat("x", 239)+"%-/é")
	f(strings.Repeat("x", 239)+"%", strings.Repeat("x", 239)+"%-/%25")
	f(strings.Repeat("a/", 32)+"b/c", strings.Repeat("a/", 32)+"b%2Fc")
	if got := names("Ä B:c.", true)[0]; got != "%C3%84 %42%3Ac%2E" {
		t.Errorf("portable: %q", got)
	}
}

// checkNames holds for every key: its path stays below the bucket's folder, fits every file system, and reads back.
func checkNames(t *testing.T, key string) {
	t.Helper()
	for _, portable := range []bool{false, true} {
		list := names(key, portable)
		for _, name := range list {
			if name == "" || name == "." || name == ".." || len(name) > 255-len(asFile) || strings.ContainsAny(name, "/\x00") {
				t.Fatalf("%q has the name %q", key, name)
			}
			if portable && strings.ContainsFunc(strings.TrimSuffix(name, goesOn), func(r rune) bool {
				return r >= utf8.RuneSelf || r < 0x20 || r >= 'G' && r <= 'Z' || strings.ContainsRune(forbidden, r)
			}) {
				t.Fatalf("%q has the name %q", key, name)
			}
		}
		joined := strings.Join(list, "/")
		if path.Clean(joined) != joined || strings.HasPrefix(joined, "/") || len(list) > maxDepth {
			t.Fatalf("%q becomes %q", key, joined)
		}
		for _, mark := range []string{"", asFile} {
			if got, ok := keyOf(joined + mark); !ok || got != key {
				t.Fatalf("%q becomes %q, which reads %q, %v", key, joined+mark, got, ok)
			}
		}
		for i := range list[:len(list)-1] {
			if strings.HasSuffix(list[i], goesOn) {
				continue
			}
			marked := append([]string(nil), list...)
			marked[i] += asFolder
			if got, ok := keyOf(strings.Join(marked, "/")); !ok || got != key {
				t.Fatalf("%q, folder %d marked, reads %q, %v", key, i, got, ok)
			}
		}
	}
}

// hostile makes a random key of what is likely to break a path.
func hostile(rng *rand.Rand) string {
	pieces := []string{"/", "/", "//", ".", "..", "../", "%", "%_", "%-", "%d", "%f", "%2F", "a", "A", "b", "\x00", "\n", "é", "日", "😀",
		":", "\\", " ", "~", privateDir, strings.Repeat("x", 120), strings.Repeat("é", 60), strings.Repeat("%", 50), strings.Repeat("/", 40)}
	var b strings.Builder
	for b.Len() == 0 || rng.IntN(8) > 0 {
		piece := pieces[rng.IntN(len(pieces))]
		if b.Len()+len(piece) > object.MaxKeyBytes {
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

// Random hostile keys have paths that stay below the bucket's folder and read back.
func TestNamesOfHostileKeys(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 20_000 {
		checkNames(t, hostile(rng))
	}
}

func FuzzNames(f *testing.F) {
	for _, key := range []string{"a/b", "../..", strings.Repeat("x", 240) + "..", "%25%d", strings.Repeat("é", 512)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if object.ValidKey(key) {
			checkNames(t, key)
		}
	})
}

func FuzzKeyOf(f *testing.F) {
	f.Add("a%d/b%-/c%f")
	f.Fuzz(func(t *testing.T, p string) {
		if key, ok := keyOf(p); ok && object.ValidKey(key) {
			checkNames(t, key)
		}
	})
}

func TestOrdered(t *testing.T) {
	list := []string{"", "\x00", "\x00\x00", "\x00a", "a", "a\x00", "a\x00b", "a/", "b"}
	for i := range list {
		for j := range list {
			x, y := ordered(list[i])+"\x00\x01", ordered(list[j])+"\x00\x01"
			if (x < y) != (i < j) {
				t.Errorf("%q and %q are out of order", list[i], list[j])
			}
		}
	}
}
