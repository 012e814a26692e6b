import Container
import Linux

/// Hooks that run beside the event loop. What of them fails is a warning.
final class HookWatch: EventHandler {
    private let loop: EventLoop
    private let diagnostics: Diagnostics
    private var run: HookRun?
    private var stepper = Stepper()
    /// Called when all have run.
    var ended: () -> Void = {}

    init(_ loop: EventLoop, _ diagnostics: Diagnostics) {
        self.loop = loop
        self.diagnostics = diagnostics
    }

    func start(_ hooks: HookRun) {
        run = hooks
        step()
    }

    /// Ends those that run. ``ended`` is not called.
    func abandon() {
        run?.abandon()
        run = nil
        stepper.pause(loop)
    }

    /// When ``checkDeadline()`` has something to do; nil where no hooks run.
    var deadline: Int64? { run?.deadline.nanoseconds }

    func checkDeadline() { if let due = run?.deadline, due.hasPassed { step() } }

    func ready(role: Int32, _ event: Epoll.Event) { step() }

    private func step() {
        stepper.pause(loop)
        guard let run else { return }
        switch run.step() {
        case .waiting: stepper.resume(loop, run.descriptor, self, role: 0)
        case .finished(let failures):
            self.run = nil
            for failure in failures { diagnostics.warning(failure.description) }
            ended()
        }
    }
}
