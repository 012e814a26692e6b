/// Bytes on their way, in memory of a fixed size.
struct ByteQueue {
    private var storage: [UInt8]
    private var head = 0
    private var tail = 0

    init(capacity: Int) { storage = [UInt8](repeating: 0, count: max(1, capacity)) }

    var count: Int { tail - head }
    var isEmpty: Bool { head == tail }
    var room: Int { storage.count - count }

    /// Takes `bytes`, for which there must be ``room``; what is more is not taken.
    mutating func append(_ bytes: [UInt8]) {
        let taken = min(bytes.count, room)
        makeSpace(taken)
        storage.replaceSubrange(tail..<tail + taken, with: bytes[..<taken])
        tail += taken
    }

    /// Has `read` fill the free space and say how many bytes it put there.
    mutating func fill(_ read: (UnsafeMutableRawBufferPointer) -> Int) {
        makeSpace(room)
        let start = tail
        let count = storage.withUnsafeMutableBytes { read(UnsafeMutableRawBufferPointer(rebasing: $0[start...])) }
        tail += min(max(0, count), storage.count - start)
    }

    /// Shows `write` what waits; it says how many bytes it took.
    mutating func drain(_ write: (UnsafeRawBufferPointer) -> Int) {
        let (start, end) = (head, tail)
        let count = storage.withUnsafeBytes { write(UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
        head += min(max(0, count), end - start)
        if isEmpty { (head, tail) = (0, 0) }
    }

    /// Moves what waits to the front where less than `wanted` bytes are free behind it.
    private mutating func makeSpace(_ wanted: Int) {
        if head == 0 || storage.count - tail >= wanted { return }
        storage.replaceSubrange(0..<count, with: Array(storage[head..<tail]))
        (head, tail) = (0, count)
    }
}
