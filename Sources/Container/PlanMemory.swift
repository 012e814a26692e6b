import CLinux

/// The C memory that a spawn plan points into; freed when it goes.
final class PlanMemory {
    private var blocks: [UnsafeMutableRawPointer] = []
    /// An allocation failed: the plan has holes, and must not be carried out.
    private(set) var isShort = false

    deinit { for block in blocks { free(block) } }

    /// - Throws: ``LaunchError`` if any allocation failed.
    func check() throws(LaunchError) {
        if isShort { throw LaunchError("allocate", "launch plan", "out of memory") }
    }

    /// A NUL-terminated copy. Text after a NUL inside is cut off; the decoders refuse such text.
    func string(_ text: String) -> UnsafePointer<CChar>? {
        guard let copy = strdup(text) else {
            isShort = true
            return nil
        }
        blocks.append(UnsafeMutableRawPointer(copy))
        return UnsafePointer(copy)
    }

    func string(_ text: String?) -> UnsafePointer<CChar>? {
        guard let text else { return nil }
        return string(text)
    }

    /// A NULL-terminated array of copies, as execve(2) wants it.
    func strings(_ texts: [String]) -> UnsafePointer<UnsafePointer<CChar>?>? {
        array(texts.map { string($0) } + [nil])
    }

    /// A copy of `elements`, which must be plain C data.
    func array<Element>(_ elements: [Element]) -> UnsafePointer<Element>? {
        let (size, tooLarge) = MemoryLayout<Element>.stride.multipliedReportingOverflow(by: max(1, elements.count))
        guard !tooLarge, let block = calloc(1, size) else {
            isShort = true
            return nil
        }
        blocks.append(block)
        let typed = block.bindMemory(to: Element.self, capacity: max(1, elements.count))
        for (index, element) in elements.enumerated() { (typed + index).initialize(to: element) }
        return UnsafePointer(typed)
    }

    /// A copy of one value, which must be plain C data.
    func value<Value>(_ value: Value) -> UnsafePointer<Value>? { array([value]) }
}
