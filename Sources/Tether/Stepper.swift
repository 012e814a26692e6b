import Linux

/// Watches the descriptor of something that goes on in steps and may have another descriptor after each.
struct Stepper {
    private var watch: EventLoop.Watch?

    /// To be called before a step: the step may close the descriptor, and the kernel may give its number to the next one.
    mutating func pause(_ loop: EventLoop) {
        if let watch { loop.unwatch(watch) }
        watch = nil
    }

    /// Watches `descriptor` until the next step; −1 is nothing to watch.
    mutating func resume(_ loop: EventLoop, _ descriptor: Int32, _ handler: any EventHandler, role: Int32) {
        if descriptor >= 0 { watch = loop.watch(descriptor, .readable, handler, role: role) }
    }
}

extension Optional<Int64> {
    /// The earlier of two points in time, of which each may be never.
    func earlier(_ other: Int64?) -> Int64? {
        guard let self else { return other }
        return Swift.min(self, other ?? self)
    }
}
