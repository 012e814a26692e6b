import CZlib
import Foundation

/// How a guestinfo value is written: the names a variable's `.encoding` companion may hold, in cloud-init's words.
public enum ValueEncoding: String, Sendable, CaseIterable {
    /// The bytes as they are.
    case plain
    case base64
    /// Compressed as gzip (RFC 1952), then base64.
    case gzipBase64 = "gzip+base64"

    /// The value for the variable that stands for `bytes`.
    /// - Throws: ``ValueEncodingError`` when zlib cannot compress.
    public func encode(_ bytes: [UInt8]) throws(ValueEncodingError) -> [UInt8] {
        switch self {
        case .plain: bytes
        case .base64: Self.base64(bytes)
        case .gzipBase64: Self.base64(try Self.gzip(bytes))
        }
    }

    /// One gzip member without a time stamp, so that equal input gives equal output.
    static func gzip(_ bytes: [UInt8]) throws(ValueEncodingError) -> [UInt8] {
        // zlib counts in 32 bits; guestinfo values end far below.
        guard let count = UInt32(exactly: bytes.count) else { throw ValueEncodingError(operation: "gzip", code: Z_BUF_ERROR) }
        var stream = z_stream()
        // 15 + 16: the largest window, in a gzip wrapper.
        var code = deflateInit2_(
            &stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard code == Z_OK else { throw ValueEncodingError(operation: "deflateInit2", code: code) }
        defer { deflateEnd(&stream) }
        var output = [UInt8](repeating: 0, count: Int(deflateBound(&stream, UInt(count))))
        var input = bytes
        let room = UInt32(clamping: output.count)
        code = input.withUnsafeMutableBufferPointer { source in
            output.withUnsafeMutableBufferPointer { target in
                stream.next_in = source.baseAddress
                stream.avail_in = count
                stream.next_out = target.baseAddress
                stream.avail_out = room
                return deflate(&stream, Z_FINISH)
            }
        }
        guard code == Z_STREAM_END else { throw ValueEncodingError(operation: "deflate", code: code) }
        output.removeLast(Int(stream.avail_out))
        return output
    }

    private static func base64(_ bytes: [UInt8]) -> [UInt8] { Array(Data(bytes).base64EncodedData()) }
}

/// Why a value could not be encoded.
public struct ValueEncodingError: Error, Equatable, Sendable, CustomStringConvertible {
    /// zlib's function.
    public let operation: String
    /// zlib's return value.
    public let code: Int32

    public var description: String { "\(operation): zlib error \(code)" }
}
