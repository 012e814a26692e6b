import CZlib

/// zlib's stream in one direction (RFC 4253, 6.2; RFC 1950). What one packet ends with is flushed, so that it can be read without
/// the next one.
final class Compressor {
    private let stream: UnsafeMutablePointer<z_stream>

    /// - Returns: nil where there is no memory.
    init?() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // Windows and tables of 32 KiB and 64 KiB, the usual ones: the peer must have as much.
        guard deflateInit_(stream, Z_DEFAULT_COMPRESSION, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK else { return nil }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// - Returns: nil where zlib fails.
    func compress(_ payload: [UInt8]) -> [UInt8]? {
        // Enough for a whole flush of what zlib cannot make smaller; and zlib holds back no more than that of earlier packets: nothing.
        var result = [UInt8](repeating: 0, count: Int(deflateBound(stream, UInt(payload.count))) + 16)
        var input = payload
        let produced = input.withUnsafeMutableBufferPointer { input -> Int? in
            result.withUnsafeMutableBufferPointer { output -> Int? in
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = UInt32(clamping: input.count)
                stream.pointee.next_out = output.baseAddress
                stream.pointee.avail_out = UInt32(clamping: output.count)
                guard deflate(stream, Z_PARTIAL_FLUSH) == Z_OK, stream.pointee.avail_in == 0, stream.pointee.avail_out > 0 else {
                    return nil
                }
                return output.count - Int(stream.pointee.avail_out)
            }
        }
        guard let produced else { return nil }
        result.removeLast(result.count - produced)
        return result
    }
}

/// The other direction, with a bound.
final class Decompressor {
    private let stream: UnsafeMutablePointer<z_stream>

    /// - Returns: nil where there is no memory.
    init?() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard inflateInit_(stream, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK else { return nil }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// - Returns: nil for what is no such stream, and for what would be more than `maximum` bytes: that much is decompressed and not
    ///   a byte more, whatever a packet promises.
    func decompress(_ payload: UnsafeBufferPointer<UInt8>, maximum: Int) -> [UInt8]? {
        var result: [UInt8] = []
        stream.pointee.next_in = UnsafeMutablePointer(mutating: payload.baseAddress)
        stream.pointee.avail_in = UInt32(clamping: payload.count)
        var room = min(maximum + 1, max(1024, payload.count * 4))
        while true {
            let before = result.count
            result.append(contentsOf: repeatElement(0, count: room))
            let (status, left) = result.withUnsafeMutableBufferPointer { output -> (CInt, Int) in
                stream.pointee.next_out = output.baseAddress.map { $0 + before }
                stream.pointee.avail_out = UInt32(clamping: room)
                let status = inflate(stream, Z_PARTIAL_FLUSH)
                return (status, Int(stream.pointee.avail_out))
            }
            result.removeLast(left)
            // Z_BUF_ERROR: nothing was left to be done. The stream never ends, since there is always another packet.
            guard status == Z_OK || status == Z_BUF_ERROR, result.count <= maximum else { return nil }
            if left > 0 { return stream.pointee.avail_in == 0 ? result : nil }
            room = min(maximum + 1 - result.count, max(room, result.count))
        }
    }
}
