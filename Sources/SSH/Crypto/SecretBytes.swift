import CLinux

/// Bytes that are overwritten when nobody needs them any more.
///
/// @unchecked: what the pointer leads to is written in the initialiser alone.
final class SecretBytes: @unchecked Sendable {
    private let start: UnsafeMutableRawPointer
    let count: Int

    init(_ bytes: some Collection<UInt8>) {
        count = bytes.count
        start = .allocate(byteCount: max(1, bytes.count), alignment: 8)
        for (index, byte) in bytes.enumerated() { start.storeBytes(of: byte, toByteOffset: index, as: UInt8.self) }
    }

    deinit {
        explicit_bzero(start, count)
        start.deallocate()
    }

    /// The bytes, which must not be used after the closure's end.
    func withBytes<Result, Failure: Error>(_ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(UnsafeBufferPointer(start: UnsafePointer(start.assumingMemoryBound(to: UInt8.self)), count: count))
    }

    /// A copy, for whoever overwrites it.
    var copy: [UInt8] { withBytes { Array($0) } }
}

extension Array where Element == UInt8 {
    /// Overwrites the bytes in a way that the compiler does not leave out. Of an array with a second owner, only a copy is.
    mutating func wipe() {
        withUnsafeMutableBytes { $0.wipe() }
    }
}

extension UnsafeMutableRawBufferPointer {
    func wipe() {
        if let baseAddress { explicit_bzero(baseAddress, count) }
    }
}
