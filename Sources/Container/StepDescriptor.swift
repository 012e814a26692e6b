import Linux

/// One descriptor for a caller to watch, in the place of those that something waits for step by step.
struct StepDescriptor: ~Copyable {
    private let epoll: Epoll
    private var watched: Int32 = -1

    init() throws(SyscallError) { epoll = try Epoll() }

    /// Readable when the one is that is watched.
    var rawValue: Int32 { epoll.rawValue }

    /// To be called before a step, and so before anything may be closed: a descriptor that another process has a copy of stays in the
    /// set otherwise.
    mutating func unwatch() {
        if watched >= 0 { try? epoll.remove(watched) }
        watched = -1
    }

    /// Watches `descriptor` until the next step; -1 is nothing to watch.
    mutating func watch(_ descriptor: Int32) {
        watched = descriptor
        // A descriptor that cannot be watched costs the time until the deadline, no more.
        if watched >= 0 { try? epoll.add(watched, .readable, token: 0) }
    }
}
