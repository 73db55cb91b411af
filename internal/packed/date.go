package packed

import "encoding/binary"

// Sizes of a date, packed and as a text.
const (
	DateSize = 4
	DateLen  = len("Mon, 02 Jan 2006 15:04:05 GMT")
)

// AppendDate appends a date of the preferred form of RFC 9110, section 5.6.7,
// from the years 1970 to 2106, as seconds since 1970. Of any other text, or one
// whose day of the week is wrong, it appends nothing and reports false.
func AppendDate(b []byte, date string) ([]byte, bool) {
	if len(date) != DateLen || date[3] != ',' || date[4] != ' ' || date[7] != ' ' || date[11] != ' ' ||
		date[16] != ' ' || date[19] != ':' || date[22] != ':' || date[25:] != " GMT" {
		return b, false
	}
	day, year := two(date[5:7]), 100*two(date[12:14])+two(date[14:16])
	hour, minute, second := two(date[17:19]), two(date[20:22]), two(date[23:25])
	month := monthOf(date[8:11])
	if month == 0 || year < 1970 || year > 2106 || day < 1 || day > daysOf(year, month) || hour > 23 || minute > 59 || second > 59 {
		return b, false
	}
	days := daysSince1970(year, month, day)
	at := days*86400 + hour*3600 + minute*60 + second
	if at >= 1<<32 || date[:3] != weekday(days) {
		return b, false
	}
	return binary.LittleEndian.AppendUint32(b, uint32(at)), true
}

// two is the value of two digits, and beyond all that a date has where they are none.
func two(s string) uint64 {
	high, low := uint64(s[0])-'0', uint64(s[1])-'0'
	if high > 9 || low > 9 {
		return 1 << 20
	}
	return 10*high + low
}

func monthOf(name string) uint64 {
	switch name {
	case "Jan":
		return 1
	case "Feb":
		return 2
	case "Mar":
		return 3
	case "Apr":
		return 4
	case "May":
		return 5
	case "Jun":
		return 6
	case "Jul":
		return 7
	case "Aug":
		return 8
	case "Sep":
		return 9
	case "Oct":
		return 10
	case "Nov":
		return 11
	case "Dec":
		return 12
	}
	return 0
}

// daysOf returns how many days a month has, from 1970 to 2106.
func daysOf(year, month uint64) uint64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && year != 2100 {
			return 29
		}
		return 28
	}
	return 31
}

// AppendDateText appends the text of a date of DateSize bytes.
func AppendDateText(b, date []byte) []byte {
	at := uint64(binary.LittleEndian.Uint32(date))
	days, second := at/86400, at%86400
	year, month, day := civil(days)
	start := len(b)
	b = append(b, "Thu, 01 Jan 1970 00:00:00 GMT"...)
	to := (*[DateLen]byte)(b[start:])
	copy(to[:3], weekday(days))
	copy(to[8:11], months[3*month-3:3*month])
	put := func(at int, n uint64) { to[at], to[at+1] = byte('0'+n/10), byte('0'+n%10) }
	put(5, day)
	put(12, year/100)
	put(14, year%100)
	put(17, second/3600)
	put(20, second/60%60)
	put(23, second%60)
	return b
}

const (
	weekdays = "ThuFriSatSunMonTueWed" // 1970 began with a Thursday
	months   = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

func weekday(days uint64) string { return weekdays[days%7*3:][:3] }

// Years count from March here, so that the odd day comes last, and eras are the
// 400 years after which the calendar repeats itself. 0 March of the year 0 is
// 719,468 days before 1970.
const (
	eraDays  = 146_097
	zeroDays = 719_468
)

// daysSince1970 returns the number of a day that there is.
func daysSince1970(year, month, day uint64) uint64 {
	if month <= 2 {
		year--
		month += 12
	}
	era, of := year/400, year%400
	return era*eraDays + of*365 + of/4 - of/100 + (153*(month-3)+2)/5 + day - 1 - zeroDays
}

// civil is the inverse of daysSince1970.
func civil(days uint64) (year, month, day uint64) {
	days += zeroDays
	era, of := days/eraDays, days%eraDays
	year = (of - of/1460 + of/36524 - of/146096) / 365
	of -= 365*year + year/4 - year/100
	month = (5*of + 2) / 153
	day = of - (153*month+2)/5 + 1
	year += 400 * era
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}
