/// A point in time as nanoseconds since 1970-01-01T00:00:00Z, and its RFC 3339 text.
///
/// The 64-bit count ends in the year 2262.
public struct Timestamp: Sendable, Equatable, Hashable, Comparable {
    /// Nanoseconds since the epoch, never negative.
    public let nanoseconds: Int64

    /// A time before 1970 counts as the epoch: no clock of a VM that shows one is right.
    public init(nanoseconds: Int64) { self.nanoseconds = max(0, nanoseconds) }

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.nanoseconds < b.nanoseconds }

    /// Length of the text that ``append(to:)`` writes: `2026-01-02T03:04:05.678901234Z`.
    public static let textLength = 30

    /// Appends the time in UTC with nine decimals.
    public func append(to text: inout [UInt8]) {
        let second = nanoseconds / 1_000_000_000
        let date = CivilDate(daysSinceEpoch: second / 86_400)
        let time = second % 86_400
        Decimal.append(date.year, digits: 4, to: &text)
        text.append(UInt8(ascii: "-"))
        Decimal.append(date.month, digits: 2, to: &text)
        text.append(UInt8(ascii: "-"))
        Decimal.append(date.day, digits: 2, to: &text)
        text.append(UInt8(ascii: "T"))
        Decimal.append(time / 3600, digits: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        Decimal.append(time / 60 % 60, digits: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        Decimal.append(time % 60, digits: 2, to: &text)
        text.append(UInt8(ascii: "."))
        Decimal.append(nanoseconds % 1_000_000_000, digits: 9, to: &text)
        text.append(UInt8(ascii: "Z"))
    }

    /// The RFC 3339 text, in UTC with nine decimals.
    public var text: String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Timestamp.textLength)
        append(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Parses a whole RFC 3339 date-time.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        let parsed = bytes.withUnsafeBytes { Timestamp.parse($0) }
        guard let parsed, parsed.length == bytes.count else { return nil }
        self = parsed.time
    }

    /// Parses an RFC 3339 date-time (section 5.6) at the start of `text`: a fraction of none to nine digits, `Z` or a
    /// numeric offset.
    /// - Returns: the time and the number of bytes it took; nil where no date-time stands. One before 1970 or after the
    ///   end of the count in 2262 becomes the nearest time there is: a strange clock must not cost a record. A leap second
    ///   (`:60`) counts as the second after it.
    public static func parse(_ text: UnsafeRawBufferPointer) -> (time: Timestamp, length: Int)? {
        guard text.count >= 20, text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"),
            text[10] == UInt8(ascii: "T") || text[10] == UInt8(ascii: "t"),
            text[13] == UInt8(ascii: ":"), text[16] == UInt8(ascii: ":"),
            let year = Decimal.parse(text, 0, 4),
            let month = Decimal.parse(text, 5, 2), (1...12).contains(month),
            let day = Decimal.parse(text, 8, 2), day >= 1, day <= CivilDate.daysInMonth(month, year: year),
            let hour = Decimal.parse(text, 11, 2), hour < 24,
            let minute = Decimal.parse(text, 14, 2), minute < 60,
            let second = Decimal.parse(text, 17, 2), second <= 60
        else { return nil }
        var at = 19
        var fraction: Int64 = 0
        if text[at] == UInt8(ascii: ".") {
            at += 1
            var scale: Int64 = 100_000_000
            let first = at
            while at < text.count, at - first < 9, let digit = Decimal.digit(text[at]) {
                fraction += digit * scale
                scale /= 10
                at += 1
            }
            if at == first { return nil }
        }
        guard at < text.count else { return nil }
        var offset: Int64 = 0
        switch text[at] {
        case UInt8(ascii: "Z"), UInt8(ascii: "z"): at += 1
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            guard text.count - at >= 6, text[at + 3] == UInt8(ascii: ":"),
                let hours = Decimal.parse(text, at + 1, 2), hours < 24,
                let minutes = Decimal.parse(text, at + 4, 2), minutes < 60
            else { return nil }
            offset = (hours * 60 + minutes) * (text[at] == UInt8(ascii: "-") ? -60 : 60)
            at += 6
        default: return nil
        }
        if year < 1969 { return (Timestamp(nanoseconds: 0), at) }
        // 1969 is looked at, since its last hours may be 1970 in UTC; the sum stays small enough up to the year 9999, the
        // nanoseconds do not.
        let days = CivilDate(year: year, month: month, day: day).daysSinceEpoch
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
        let (scaled, tooLate) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (total, tooLateByFraction) = scaled.addingReportingOverflow(fraction)
        return (Timestamp(nanoseconds: tooLate || tooLateByFraction ? .max : total), at)
    }
}

/// A date of the proleptic Gregorian calendar, from 1969 on.
///
/// Both directions count years from March, so that the leap day is the last of its year and month lengths follow one
/// formula; 400 years are always 146 097 days.
struct CivilDate: Equatable {
    var year: Int64
    var month: Int64
    var day: Int64

    init(year: Int64, month: Int64, day: Int64) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// - Parameter daysSinceEpoch: 0 or more, and of a 64-bit nanosecond clock, so that nothing can overflow.
    init(daysSinceEpoch: Int64) {
        let days = daysSinceEpoch + 719_468  // from 0000-03-01
        let era = days / 146_097
        let dayOfEra = days % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    var daysSinceEpoch: Int64 {
        let marchYear = month <= 2 ? year - 1 : year
        let yearOfEra = marchYear % 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return marchYear / 400 * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func daysInMonth(_ month: Int64, year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: return 30
        case 2: return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: return 31
        }
    }
}

/// Fixed-width decimal numbers.
enum Decimal {
    /// Appends the last `digits` digits of `value`, with leading zeros.
    static func append(_ value: Int64, digits: Int, to text: inout [UInt8]) {
        let start = text.count
        for _ in 0..<digits { text.append(UInt8(ascii: "0")) }
        var rest = value.magnitude
        var at = start + digits
        while at > start {
            at -= 1
            text[at] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }

    static func digit(_ byte: UInt8) -> Int64? {
        let value = byte &- UInt8(ascii: "0")
        return value < 10 ? Int64(value) : nil
    }

    /// The number that stands in `count` digits at `start`; the range must lie inside `text`.
    static func parse(_ text: UnsafeRawBufferPointer, _ start: Int, _ count: Int) -> Int64? {
        var value: Int64 = 0
        for at in start..<start + count {
            guard let digit = digit(text[at]) else { return nil }
            value = value * 10 + digit
        }
        return value
    }
}
