import Base64Coding
import CZlib

/// How a value is packed to survive its way through the host's configuration, by the names cloud-init uses.
public enum ValueDecoder: Equatable, Sendable {
    case plain
    case base64
    case gzipBase64

    /// - Parameter name: the value of the encoding key, possibly empty; white space around it and the case do not count.
    public init(name: [UInt8]) throws(GuestInfoError.Cause) {
        var word: [UInt8] = []
        for byte in name { word.append(byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) }
        while let last = word.last, Self.isSpace(last) { word.removeLast() }
        while let first = word.first, Self.isSpace(first) { word.removeFirst() }
        switch String(decoding: word, as: UTF8.self) {
        case "", "plain": self = .plain
        case "base64", "b64": self = .base64
        case "gzip+base64", "gz+base64", "gzip+b64", "gz+b64": self = .gzipBase64
        default:
            let printable = word.prefix(40).map { $0 >= 0x20 && $0 < 0x7F ? $0 : UInt8(ascii: "?") }
            throw .unknownEncoding(String(decoding: printable, as: UTF8.self))
        }
    }

    /// - Parameter limit: longest result in bytes.
    public func decode(_ value: [UInt8], limit: Int) throws(GuestInfoError.Cause) -> [UInt8] {
        let result: [UInt8]
        switch self {
        case .plain: result = value
        case .base64: result = try Self.decodeBase64(value)
        case .gzipBase64: return try Self.gunzip(try Self.decodeBase64(value), limit: limit)
        }
        guard result.count <= limit else { throw .decodedTooLong(limit: limit) }
        return result
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }

    static func decodeBase64(_ text: [UInt8]) throws(GuestInfoError.Cause) -> [UInt8] {
        guard let result = Base64.decode(text) else { throw .malformedBase64 }
        return result
    }

    /// RFC 1952: one gzip member, or several, one after another.
    static func gunzip(_ data: [UInt8], limit: Int) throws(GuestInfoError.Cause) -> [UInt8] {
        var stream = z_stream()
        // 15: the largest window; 16 more: a gzip header and nothing else.
        guard inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { throw .malformedGzip }
        defer { inflateEnd(&stream) }
        guard let available = UInt32(exactly: data.count) else { throw .malformedGzip }
        var input = data
        return try input.withUnsafeMutableBufferPointer { (source) throws(GuestInfoError.Cause) -> [UInt8] in
            stream.next_in = source.baseAddress
            stream.avail_in = available
            return try inflateAll(&stream, limit: limit)
        }
    }

    private static func inflateAll(_ stream: inout z_stream, limit: Int) throws(GuestInfoError.Cause) -> [UInt8] {
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 32_768)
        while true {
            var produced = 0
            let status = chunk.withUnsafeMutableBufferPointer { target in
                stream.next_out = target.baseAddress
                stream.avail_out = UInt32(clamping: target.count)
                let status = inflate(&stream, Z_NO_FLUSH)
                produced = target.count - Int(stream.avail_out)
                return status
            }
            // The bound is checked before the bytes are kept: a bomb costs one chunk more than the limit.
            guard produced <= limit - result.count else { throw .decodedTooLong(limit: limit) }
            result.append(contentsOf: chunk[..<produced])
            switch status {
            case Z_STREAM_END:
                if stream.avail_in == 0 { return result }
                guard inflateReset(&stream) == Z_OK else { throw .malformedGzip }
            case Z_OK:
                if stream.avail_in == 0 && produced < chunk.count { throw .truncatedGzip }
            case Z_BUF_ERROR: throw .truncatedGzip
            default: throw .malformedGzip
            }
        }
    }
}
