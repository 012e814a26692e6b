import CLinux

/// A set of descriptors waited for together (epoll(7)), level-triggered.
public struct Epoll: ~Copyable {
    /// What is waited for; errors and hang-ups are always reported.
    public struct Interest: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let readable = Interest(rawValue: EPOLLIN.rawValue)
        public static let writable = Interest(rawValue: EPOLLOUT.rawValue)
        public static let priority = Interest(rawValue: EPOLLPRI.rawValue)
    }

    /// One descriptor that is ready.
    public struct Event: Sendable {
        /// The number given with ``add(_:_:token:)``.
        public let token: UInt64
        public let isReadable: Bool
        public let isWritable: Bool
        /// The other end is gone, or the descriptor failed: a read or write will tell.
        public let isClosedOrFailed: Bool
    }

    private let descriptor: FileDescriptor

    /// Readable itself while something in the set is ready.
    public var rawValue: Int32 { descriptor.rawValue }

    public init() throws(SyscallError) {
        descriptor = FileDescriptor(owning: try attempt("epoll_create1", "descriptors to wait for") { epoll_create1(Int32(EPOLL_CLOEXEC)) })
    }

    /// Starts to watch `number`; `token` comes back with its events.
    public func add(_ number: Int32, _ interest: Interest, token: UInt64) throws(SyscallError) {
        try control(EPOLL_CTL_ADD, number, interest, token)
    }

    /// Changes what is waited for; an empty interest pauses a descriptor (errors and hang-ups still come).
    public func modify(_ number: Int32, _ interest: Interest, token: UInt64) throws(SyscallError) {
        try control(EPOLL_CTL_MOD, number, interest, token)
    }

    /// Stops to watch `number`.
    public func remove(_ number: Int32) throws(SyscallError) {
        try control(EPOLL_CTL_DEL, number, [], 0)
    }

    private func control(_ operation: Int32, _ number: Int32, _ interest: Interest, _ token: UInt64) throws(SyscallError) {
        var event = epoll_event()
        event.events = interest.rawValue
        event.data.u64 = token
        try attempt("epoll_ctl", "descriptor \(number)") { epoll_ctl(descriptor.rawValue, operation, number, &event) }
    }

    /// Waits until something is ready or `milliseconds` have passed (-1: for ever).
    /// - Returns: at most 16 events; none after the time, or when a signal handler ran.
    public func wait(milliseconds: Int32) throws(SyscallError) -> [Event] {
        var raw = [epoll_event](repeating: epoll_event(), count: 16)
        let count: Int32
        do throws(SyscallError) {
            count = try attemptOnce("epoll_wait", "descriptors to wait for") {
                epoll_wait(descriptor.rawValue, &raw, Int32(raw.count), milliseconds)
            }
        } catch {
            if error.errno == .interrupted { return [] }
            throw error
        }
        var events: [Event] = []
        for event in raw.prefix(Int(count)) {
            let bits = event.events
            events.append(
                Event(
                    token: event.data.u64, isReadable: bits & EPOLLIN.rawValue != 0, isWritable: bits & EPOLLOUT.rawValue != 0,
                    isClosedOrFailed: bits & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0))
        }
        return events
    }
}
