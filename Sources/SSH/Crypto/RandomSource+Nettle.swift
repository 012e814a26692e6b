extension RandomSource {
    /// The form in which nettle asks for random bytes.
    typealias Function = @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeMutablePointer<UInt8>?) -> Void

    /// Calls `body` with nettle's two arguments for randomness.
    func withFunction<Result>(_ body: (UnsafeMutableRawPointer, Function) -> Result) -> Result {
        var source = self
        return withUnsafeMutablePointer(to: &source) { source in
            body(UnsafeMutableRawPointer(source)) { context, count, destination in
                guard let context, let destination else { return }
                context.assumingMemoryBound(to: RandomSource.self).pointee.fill(
                    UnsafeMutableBufferPointer(start: destination, count: count))
            }
        }
    }

    /// Bytes on whose randomness a secret hangs. A source that gives too few ends the program: a signature with a number that is
    /// not random gives away the key that made it.
    func secret(_ count: Int) -> [UInt8] {
        let bytes = bytes(count)
        precondition(bytes.count == count, "a random source gave too few bytes")
        return bytes
    }

    private func fill(_ destination: UnsafeMutableBufferPointer<UInt8>) {
        var bytes = secret(destination.count)
        for (index, byte) in bytes.enumerated() { destination[index] = byte }
        bytes.wipe()
    }
}
