import CLinux

/// Bytes that are added at the end and taken from the front, in one piece of memory that grows and is used again. A copy is made
/// only when the memory is too small or when its front, which was taken, is needed.
struct ByteBuffer: ~Copyable {
    private var memory: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    private var head = 0
    private var tail = 0

    /// Memory that was needed once, and is more than this, is given back when all has been taken.
    private static let kept = 128 << 10

    init() {
        capacity = 4096
        memory = .allocate(capacity: capacity)
    }

    deinit { memory.deallocate() }

    var count: Int { tail - head }

    /// The first byte; valid until something is added.
    var start: UnsafeMutablePointer<UInt8> { memory + head }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory + head, count: count) }

    /// Makes room for `size` more bytes at the end.
    ///
    /// - Returns: where they are to be written; `didAppend` then says how many were.
    mutating func reserve(_ size: Int) -> UnsafeMutablePointer<UInt8> {
        if capacity - tail < size {
            let count = count
            // Moving down pays where at least half of the memory comes free by it.
            if count + size <= capacity, count <= capacity / 2 {
                memmove(memory, memory + head, count)
            } else {
                capacity = max(capacity * 2, count + size)
                let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
                memcpy(larger, memory + head, count)
                memory.deallocate()
                memory = larger
            }
            head = 0
            tail = count
        }
        return memory + tail
    }

    mutating func didAppend(_ size: Int) { tail += size }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        memcpy(reserve(bytes.count), source, bytes.count)
        tail += bytes.count
    }

    /// Takes bytes from the front: at most those that are there.
    mutating func removeFirst(_ size: Int) {
        head += max(0, min(size, count))
        guard head == tail else { return }
        head = 0
        tail = 0
        if capacity > Self.kept {
            memory.deallocate()
            capacity = 4096
            memory = .allocate(capacity: capacity)
        }
    }
}
