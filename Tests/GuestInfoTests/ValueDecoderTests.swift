import Foundation
import GuestInfo
import GuestInfoHost
import Testing

/// Values that come packed; Foundation and gzip(1) are the other side.
struct ValueDecoderTests {
    private func gzip(_ data: [UInt8]) throws -> [UInt8] { try Command.run(["gzip", "-c"], input: data).output }
    private func base64(_ data: [UInt8]) -> [UInt8] { Array(Data(data).base64EncodedData()) }

    private func decode(_ value: [UInt8], _ encoding: String?, limit: Int = 8 << 20) -> Result<[UInt8]?, GuestInfoError> {
        var values = ["guestinfo.c": value]
        values["guestinfo.c.encoding"] = encoding.map { bytes($0) }
        let session = Session(values)
        do throws(GuestInfoError) { return .success(try session.client.getDecoded("guestinfo.c", limit: limit)) } catch {
            return .failure(error)
        }
    }

    private func failure(_ cause: GuestInfoError.Cause) -> Result<[UInt8]?, GuestInfoError> {
        .failure(GuestInfoError("decode", "guestinfo.c", cause))
    }

    @Test func `Plain values`() {
        for encoding in [nil, "", " ", "plain", "---", " Plain\n"] { #expect(decode(bytes("a b"), encoding) == .success(bytes("a b"))) }
        #expect(decode([], "base64") == .success(nil))
        #expect(decode(bytes("abc"), nil, limit: 2) == failure(.decodedTooLong(limit: 2)))
    }

    @Test func `Base64 of every length, with line breaks`() {
        for length in Array(1...50) + [1000, 100_000] {
            let value = pattern(length)
            #expect(decode(base64(value), "base64") == .success(value))
            #expect(
                decode(Array(Data(value).base64EncodedData(options: [.lineLength76Characters, .endLineWithCarriageReturn])), "b64")
                    == .success(value))
            #expect(decode(bytes("\n ") + base64(value) + bytes("\n"), " BASE64 ") == .success(value))
        }
        for bad in ["a", "YQ", "YQ=", "YQ==YQ==", "Y*==", "====", "YWJj-_", "YQ==\u{e9}"] {
            #expect(decode(bytes(bad), "b64") == failure(.malformedBase64), "\(bad)")
        }
    }

    @Test func `Gzip under base64, by all its names`() throws {
        for value in [[], bytes("x"), pattern(70_000), [UInt8](repeating: 0, count: 1 << 20)] {
            let packed = base64(try gzip(value))
            for name in ["gzip+base64", "gz+b64", "gz+base64", "gzip+b64"] { #expect(decode(packed, name) == .success(value)) }
        }
        #expect(decode(base64(try gzip(bytes("one ")) + gzip(bytes("two"))), "gz+b64") == .success(bytes("one two")))
    }

    @Test func `Damaged gzip data`() throws {
        let packed = try gzip(pattern(5000))
        for length in 1..<packed.count {
            #expect(decode(base64(Array(packed[..<length])), "gz+b64") == failure(.truncatedGzip), "\(length)")
        }
        var wrongSum = packed
        wrongSum[packed.count - 6] ^= 1
        #expect(decode(base64(wrongSum), "gz+b64") == failure(.malformedGzip))
        #expect(decode(base64(bytes("no gzip at all")), "gz+b64") == failure(.malformedGzip))
        #expect(decode(base64(packed + [1, 2, 3]), "gz+b64") == failure(.malformedGzip))
        #expect(decode(bytes("%%%"), "gz+b64") == failure(.malformedBase64))
    }

    @Test func `A decompression bomb stops at the limit`() throws {
        let bomb = base64(try gzip([UInt8](repeating: 0, count: 64 << 20)))
        #expect(bomb.count < 100_000)
        #expect(decode(bomb, "gzip+base64") == failure(.decodedTooLong(limit: 8 << 20)))
        #expect(decode(base64(try gzip(pattern(1001))), "gzip+base64", limit: 1000) == failure(.decodedTooLong(limit: 1000)))
        #expect(decode(base64(try gzip(pattern(1000))), "gzip+base64", limit: 1000) == .success(pattern(1000)))
    }

    @Test func `An unknown encoding is named`() {
        #expect(decode(bytes("x"), "zstd") == failure(.unknownEncoding("zstd")))
        #expect(decode(bytes("x"), "b\u{1}d").description.contains("unknown encoding 'b?d'"))
    }
}

extension Result where Success == [UInt8]?, Failure == GuestInfoError {
    fileprivate var description: String {
        switch self {
        case .success: "success"
        case .failure(let error): error.description
        }
    }
}
