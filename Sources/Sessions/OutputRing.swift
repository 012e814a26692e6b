/// The last bytes of a stream, addressed by their absolute offset from the stream's first byte.
///
/// Memory is taken as output comes, up to the capacity, and never more.
struct OutputRing {
    let capacity: Int
    /// The byte with offset n stands at index n modulo capacity. Has `min(end, capacity)` bytes.
    private var storage: [UInt8] = []
    /// The offset behind the last byte: how many bytes the stream has carried.
    private(set) var end: UInt64 = 0

    /// - Parameter capacity: bytes kept, at least 1.
    init(capacity: Int) { self.capacity = max(1, capacity) }

    /// The offset of the first byte that is still there.
    var start: UInt64 { end - UInt64(storage.count) }

    /// Takes in the next bytes; the oldest make room for them.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        let skipped = max(0, bytes.count - capacity)
        let final = end &+ UInt64(bytes.count)
        let wanted = final < UInt64(capacity) ? Int(final) : capacity
        if storage.count < wanted {
            // Doubling, but not beyond the capacity: append(contentsOf:) alone would round far over it.
            if storage.capacity < wanted { storage.reserveCapacity(min(capacity, max(wanted, storage.capacity &* 2, 4096))) }
            storage.append(contentsOf: repeatElement(0, count: wanted - storage.count))
        }
        var offset = end &+ UInt64(skipped)
        var rest = UnsafeRawBufferPointer(rebasing: bytes[skipped...])
        storage.withUnsafeMutableBytes { target in
            while !rest.isEmpty {
                let index = Int(offset % UInt64(capacity))
                let count = min(rest.count, capacity - index)
                UnsafeMutableRawBufferPointer(rebasing: target[index..<index + count])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
                offset &+= UInt64(count)
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
        end = final
    }

    /// Gives `body` the bytes from `offset` on, at most `limit` of them, in one piece: fewer than there are where the ring
    /// wraps around. Empty for an offset that is not there.
    func withBytes<Result>(from offset: UInt64, atMost limit: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        guard offset >= start, offset < end, limit > 0 else { return body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        let index = Int(offset % UInt64(capacity))
        let count = min(Int(end - offset), capacity - index, limit)
        return storage.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[index..<index + count])) }
    }
}
