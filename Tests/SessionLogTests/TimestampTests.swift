import Foundation
import SessionLog
import TestSupport
import Testing

@Suite struct TimestampTests {
    @Test func agreesWithDate() throws {
        var generator = SeededGenerator(seed: 1)
        var seconds: [Int64] = [0, 1, 59, 60, 86_399, 86_400, 951_782_399, 951_782_400, 951_868_800, 4_107_542_399, 4_107_542_400]
        seconds += (0..<300).map { _ in Int64.random(in: 0...9_223_372_035, using: &generator) }
        let list = seconds.map { "@\($0)" }.joined(separator: "\n") + "\n"
        let expected = try output("/bin/date", ["-u", "-f", "-", "+%Y-%m-%dT%H:%M:%S"], input: Array(utf8: list)).split(separator: "\n")
        try #require(expected.count == seconds.count)
        for (second, text) in zip(seconds, expected) {
            let nanoseconds = second * 1_000_000_000 + 123_456_789
            #expect(Timestamp(nanoseconds: nanoseconds).text == text + ".123456789Z")
            #expect(Timestamp(text + ".123456789Z")?.nanoseconds == nanoseconds)
        }
    }

    @Test func daysRoundTrip() {
        for day in stride(from: Int64(0), to: 106_751, by: 5) {
            let time = Timestamp(nanoseconds: day * 86_400_000_000_000 + 1)
            if Timestamp(time.text) != time {
                Issue.record("day \(day): \(time.text)")
                return
            }
        }
    }

    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.1Z", 100_000_000), ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00.5-01:00", 500_000_000), ("1969-12-31T23:00:00Z", 0), ("0000-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00-00:30", 1_800_000_000_000),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:60Z", 60_000_000_000),
        ("2262-04-11T23:47:16.854775807Z", Int64.max),
        ("2262-04-11T23:47:16.854775808Z", Int64.max), ("9999-12-31T23:59:59Z", Int64.max),
    ])
    func parses(text: String, nanoseconds: Int64) {
        #expect(Timestamp(text)?.nanoseconds == nanoseconds)
    }

    @Test(arguments: [
        "", "1970", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-13-01T00:00:00Z", "1970-00-01T00:00:00Z",
        "1970-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "1970-01-32T00:00:00Z", "1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00.1234567890Z", "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+24:00", "1970-01-01T00:00:00+01:60", "1970-01-01T00:00:00ZZ", "+970-01-01T00:00:00Z", "1970-01-01T00:00:00.5",
    ])
    func refuses(text: String) { #expect(Timestamp(text) == nil) }

    @Test func clampsBeforeTheEpoch() {
        #expect(Timestamp(nanoseconds: -1).text == "1970-01-01T00:00:00.000000000Z")
        #expect(Timestamp(nanoseconds: .min).nanoseconds == 0)
        #expect(Timestamp(nanoseconds: .max).text == "2262-04-11T23:47:16.854775807Z")
    }
}
