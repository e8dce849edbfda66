package objectkey

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// What java.time.format.DateTimeFormatter prints for the same pattern, moment and locale (en, US).
func TestPatterns(t *testing.T) {
	utc := time.Date(2026, time.July, 3, 4, 5, 6, 7_089_000, time.UTC) // a Friday
	f := func(at time.Time, pattern, want string) {
		t.Helper()
		p, err := ParsePattern(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			return
		}
		if got := string(p.Format(nil, at)); got != want {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
	f(utc, "yyyy/MM/dd/HH/", "2026/07/03/04/")
	f(utc, "y yy yyy yyyy yyyyy u uu", "2026 26 2026 2026 02026 2026 26")
	f(utc, "M MM MMM MMMM MMMMM L LL LLL LLLL", "7 07 Jul July J 7 07 Jul July")
	f(utc, "d dd D DD DDD", "3 03 184 184 184")
	f(utc, "E EE EEE EEEE EEEEE e ee eee eeee", "Fri Fri Fri Friday F 6 06 Fri Friday")
	f(utc, "a h hh H HH k kk K KK", "AM 4 04 4 04 4 04 4 04")
	f(utc.Add(-4*time.Hour), "a h H k K", "AM 12 0 24 0")
	f(utc.Add(8*time.Hour), "a h H k K", "PM 12 12 12 0")
	f(utc.Add(11*time.Hour), "a h K", "PM 3 3")
	f(utc, "m mm s ss", "5 05 6 06")
	f(utc, "S SSS SSSSSS SSSSSSSSS n A", "0 007 007089 007089000 7089000 14706007")
	f(utc, "N nnnnnnnnnn AAAAAAAAAAA", "14706007089000 0007089000 00014706007")
	f(utc, "c ccc cccc ccccc", "6 Fri Friday F")
	f(utc, "G GGG GGGG GGGGG", "AD AD Anno Domini A")
	f(utc, "Q QQ QQQ QQQQ QQQQQ q", "3 03 Q3 3rd quarter 3 3")
	f(utc, "w ww W YYYY", "27 27 1 2026")
	f(time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), "YYYY-ww W", "2027-01 5")
	f(time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC), "YYYY-ww W", "2027-01 1")
	f(time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC), "YYYY-ww W", "2027-02 2")
	f(time.Date(2026, 8, 31, 0, 0, 0, 0, time.UTC), "W", "6")
	f(utc, "z zzz VV Z ZZZZ ZZZZZ X XX XXX x xx xxx O OOOO", "UTC UTC UTC +0000 GMT Z Z Z Z +00 +0000 +00:00 GMT GMT")
	tokyo := utc.In(zone(t, "Asia/Tokyo"))
	f(tokyo, "HH z VV Z ZZZZ ZZZZZ X XX XXX x xx xxx O OOOO",
		"13 JST Asia/Tokyo +0900 GMT+09:00 +09:00 +09 +0900 +09:00 +09 +0900 +09:00 GMT+9 GMT+09:00")
	f(utc.In(zone(t, "Asia/Kolkata")), "X x O", "+0530 +0530 GMT+5:30")
	f(utc.In(zone(t, "America/New_York")), "dd HH z XXX O", "03 00 EDT -04:00 GMT-4")
	f(utc.In(time.FixedZone("odd", 3600+30)), "XXXX XXXXX X XXX ZZZZZ O", "+010030 +01:00:30 +01 +01:00 +01:00:30 GMT+1:00:30")
	f(utc, "'year='yyyy'/month='MM", "year=2026/month=07")
	f(utc, "''yyyy'' 'it''s'", "'2026' it's")
	f(utc, "yyyy-MM-dd'T'HH:mm:ss", "2026-07-03T04:05:06")
	f(utc, "yyyy[-MM[-dd]]", "2026-07-03")
	f(utc, "é/yyyy.", "é/2026.")
	f(utc, "", "")
}

// An object's time is told in its zone as clocks there show it: the hour that is left out in spring is in no key, and the
// one that comes twice in autumn is told apart by its offset.
func TestSummerTime(t *testing.T) {
	f := func(name string, at time.Time, want string) {
		t.Helper()
		p, err := ParsePattern("yyyy-MM-dd'T'HH:mm z xxx")
		if err != nil {
			t.Fatal(err)
		}
		if got := string(p.Format(nil, at.In(zone(t, name)))); got != want {
			t.Errorf("%s at %v: got %q, want %q", name, at, got, want)
		}
	}
	at := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, time.UTC)
	}
	f("America/New_York", at(3, 8, 6, 59), "2026-03-08T01:59 EST -05:00")
	f("America/New_York", at(3, 8, 7, 0), "2026-03-08T03:00 EDT -04:00")
	f("America/New_York", at(11, 1, 5, 59), "2026-11-01T01:59 EDT -04:00")
	f("America/New_York", at(11, 1, 6, 0), "2026-11-01T01:00 EST -05:00")
	f("Europe/Berlin", at(3, 29, 0, 59), "2026-03-29T01:59 CET +01:00")
	f("Europe/Berlin", at(3, 29, 1, 0), "2026-03-29T03:00 CEST +02:00")
	f("Europe/Berlin", at(10, 25, 0, 59), "2026-10-25T02:59 CEST +02:00")
	f("Europe/Berlin", at(10, 25, 1, 0), "2026-10-25T02:00 CET +01:00")
	f("Australia/Lord_Howe", at(4, 4, 14, 59), "2026-04-05T01:59 +11 +11:00") // by half an hour
	f("Australia/Lord_Howe", at(4, 4, 15, 0), "2026-04-05T01:30 +1030 +10:30")
	f("Asia/Kolkata", at(12, 31, 18, 30), "2027-01-01T00:00 IST +05:30")
}

func TestPatternsThatAreRefused(t *testing.T) {
	f := func(pattern, message string) {
		t.Helper()
		if _, err := ParsePattern(pattern); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %q", pattern, err, message)
		}
	}
	for _, many := range []string{"MMMMMM", "ddd", "DDDD", "EEEEEE", "aa", "hhh", "HHH", "mmm", "sss", "SSSSSSSSSS", "QQQQQQ",
		"www", "WW", "GGGGGG", "cccccc", strings.Repeat("N", 20), strings.Repeat("n", 20), strings.Repeat("A", 20), "XXXXXX", "xxxxxx", "ZZZZZZ", "eeeeee", strings.Repeat("y", 20)} {
		f(many, "too many pattern letters: "+many[:1])
	}
	f("V", "must be 2")
	f("OO", "1 or 4")
	f("zzzz", "zzzz")
	for _, letter := range strings.Split("b f i j l o r t C I J P R T U", " ") {
		f(letter, "unknown pattern letter: "+letter)
	}
	for _, letter := range strings.Split("B F g p v", " ") { // Java's, and not ours
		f(letter, "pattern letter "+letter+" is not supported by this version of Millrace")
	}
	f("cc", "invalid pattern: cc")
	f("yyyy'open", "incomplete string literal")
	f("yyyy]", "]")
	f("{", "reserved")
	f("a#", "reserved")
}
