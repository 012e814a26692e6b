import Cgroups
import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions

/// Pauses the container: stops all its processes where they are, and lets them run on.
final class Freezer: EventHandler {
    private let runtime: Runtime
    private var watch: CgroupWatch?
    private var registration: EventLoop.Watch?
    /// The container is frozen or being frozen.
    private(set) var isPaused = false
    /// Whoever waits for all processes to have stopped.
    private var waiting: [(client: ControlConnection, tag: UInt32)] = []
    private var deadline: Deadline?
    private var pausedAt: Int64 = 0

    /// How long the processes may take to stop: those inside a system call that cannot be interrupted finish it first.
    private static let patience: Int64 = 10_000
    /// The most requests that wait for that.
    private static let mostWaiting = 64

    init(_ runtime: Runtime) { self.runtime = runtime }

    /// Pauses or resumes for a client.
    func set(_ paused: Bool, for client: ControlConnection, tag: UInt32) {
        if !runtime.lifecycle.isRunning {
            return refuse(client, tag, paused, .notRunning, "the container does not run")
        }
        if paused == isPaused && waiting.isEmpty { return client.send(.done(tag: tag)) }
        if paused && runtime.lifecycle.stopping.isAsked { return refuse(client, tag, paused, .busy, "the container is being stopped") }
        if waiting.count >= Freezer.mostWaiting { return refuse(client, tag, paused, .tooMany, "\(waiting.count) requests wait already") }
        do throws(CgroupError) {
            if paused {
                try freeze()
                waiting.append((client, tag))
                // A second request makes nobody wait longer.
                deadline = deadline ?? .after(milliseconds: Freezer.patience)
                look()
            } else {
                thaw()
                client.send(.done(tag: tag))
            }
        } catch {
            thaw()
            refuse(client, tag, paused, .failed, error.description)
        }
    }

    private func freeze() throws(CgroupError) {
        if !isPaused { pausedAt = Clock.monotonic() }
        isPaused = true
        if watch == nil { watch = try runtime.groups.container.watchEvents() }
        if registration == nil, let descriptor = watch?.descriptor {
            registration = runtime.loop.watch(descriptor, .priority, self, role: 0)
        }
        try runtime.groups.container.freeze()
    }

    /// Lets the container run on, if it was paused: also when it is to be stopped, or has ended.
    func thaw() {
        guard isPaused else { return }
        isPaused = false
        deadline = nil
        runtime.health.wasPaused(for: Clock.monotonic() &- pausedAt)
        if let registration { runtime.loop.unwatch(registration) }
        registration = nil
        watch = nil
        do throws(CgroupError) { try runtime.groups.container.thaw() } catch { runtime.diagnostics.warning(error.description) }
        let disappointed = waiting
        waiting = []
        for (client, tag) in disappointed { refuse(client, tag, true, .busy, "the container was resumed meanwhile") }
        tell()
    }

    func ready(role: Int32, _ event: Epoll.Event) { look() }

    /// Looks whether all have stopped.
    private func look() {
        guard isPaused, !waiting.isEmpty, let content = try? watch?.read(), CgroupEvents(parsing: content).frozen else { return }
        deadline = nil
        let satisfied = waiting
        waiting = []
        for (client, tag) in satisfied { client.send(.done(tag: tag)) }
        tell()
    }

    private func tell() {
        let id = runtime.spec.tether.id
        runtime.log.event(isPaused ? .pause(id: id) : .unpause(id: id))
        runtime.control.notify(isPaused ? .paused : .resumed)
        runtime.status.isPaused = isPaused
        runtime.status.publish()
    }

    private func refuse(_ client: ControlConnection, _ tag: UInt32, _ paused: Bool, _ code: RequestFailure.Code, _ cause: String) {
        client.refuse(tag, code, paused ? "pause" : "resume", runtime.spec.tether.id, cause)
    }

    var nextDeadline: Int64? { deadline?.nanoseconds }

    func checkDeadlines(_ now: Int64) {
        guard let deadline, deadline.hasPassed else { return }
        self.deadline = nil
        let disappointed = waiting
        waiting = []
        thaw()
        for (client, tag) in disappointed {
            refuse(client, tag, true, .failed, "its processes have not stopped within \(Freezer.patience / 1000) s; it runs on")
        }
    }
}
