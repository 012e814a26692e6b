/// What was killed when a launch failed, and is not gone yet.
struct LaunchRemains {
    private var children: [Child] = []
    private var worker: UserResolution?

    /// Kills a child. One that was added before is left alone.
    mutating func add(_ child: Child) {
        if children.contains(where: { $0 === child }) { return }
        child.kill()
        children.append(child)
    }

    /// Ends the reading of users.
    mutating func add(_ resolution: UserResolution) {
        resolution.abandon()
        worker = resolution
    }

    /// Readable when the next of them is gone; -1 when all are.
    var descriptor: Int32 { children.first?.pidfd ?? worker?.descriptor ?? -1 }

    mutating func areGone() -> Bool {
        children.removeAll { $0.isGone() }
        if let worker, case .waiting = worker.step() {} else { worker = nil }
        return children.isEmpty && worker == nil
    }
}
