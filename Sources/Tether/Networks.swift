import CLinux
import ContainerSpec
import KernelModules
import Linux
import Network
import SessionLog

/// The VM's network adapters: sets up what the configuration and DHCP servers want, at the start and whenever that changes.
///
/// What is asked of the kernel is asked by a worker, since the kernel may have others to serve first; what is to be asked, ``NetworkState``
/// decides.
final class Networks: EventHandler {
    private enum Role: Int32 { case work, news }
    private enum Message: Int64 { case modules, report, failed, image }

    /// How long the container waits for its adapters, in seconds.
    private static let patience: Int64 = 30
    /// The same for those of a VM that VIC's portlayer configured, which waits no longer itself.
    private static let vicPatience: Int64 = 10
    private static let workPatience: Int64 = 30_000
    /// How long clients may take to give their leases back, in nanoseconds.
    private static let releasePatience: Int64 = 1_000_000_000
    /// The wait before interfaces that changed are looked at: what changes one thing often changes another.
    private static let newsDelay: Int64 = 200_000_000
    /// The wait before what has failed is tried again, doubled each time.
    private static let firstRetry: Int64 = 5_000_000_000
    private static let lastRetry: Int64 = 300_000_000_000
    /// Further warnings of one adapter are left out.
    private static let mostWarnings = 32

    private let runtime: Runtime
    private(set) var state: NetworkState
    private let resolver: ResolverFile
    private var clients: [DHCPClient] = []
    /// Ended, and not gone yet.
    private var leaving: [DHCPClient] = []
    private var worker: Worker?
    private var workDeadline = Deadline(nanoseconds: 0)
    private var working: [WantedInterface] = []
    /// A worker that was killed and has not ended: another one would wait for the same thing.
    private var stuck: pid_t?
    private var hasWorked = false
    private var workAfter: Int64 = 0
    private var stepper = Stepper()
    private var news: RouteSocket?
    private var newsWatch: EventLoop.Watch?
    /// When the container has waited long enough; nil while it does not wait.
    private var waitUntil: Int64?
    private var releaseUntil: Int64?
    /// Warnings that were given, so that one that stays is given once.
    private var told: [String: String] = [:]
    private var warnings: [String: [String]] = [:]
    private var retryAt: Int64?
    private var retryDelay = firstRetry
    /// nil until the worker has looked.
    private var image: ImageResolver?

    init(_ runtime: Runtime) {
        self.runtime = runtime
        state = NetworkState(runtime.spec.tether.network ?? NetworkSettings())
        resolver = ResolverFile(runtime.diagnostics)
    }

    /// Whether the container gets an /etc/resolv.conf from here. VIC's dialect has one of its own.
    private var hasResolver: Bool { runtime.vic == nil && state.mayHaveNameservers }
    private var isWanted: Bool { !state.interfaces.isEmpty }
    private var seconds: Int64 { runtime.vic == nil ? Networks.patience : Networks.vicPatience }

    // MARK: The start

    /// Begins with the adapters, and with the container as soon as those are there that it waits for.
    func begin() {
        switchOnLoopback()
        guard isWanted else { return runtime.lifecycle.begin() }
        runtime.status.enter(.network)
        runtime.lifecycle.saveRecoveryState(.network, nil, 0)
        do throws(SyscallError) {
            let opened = try RouteSocket(.links)
            newsWatch = runtime.loop.watch(opened.descriptor, .readable, self, role: Role.news.rawValue)
            news = consume opened
        } catch {
            runtime.diagnostics.warning("adapters that come later are not noticed: \(error.description)")
        }
        writeResolver()
        work(Clock.monotonic())
        waitUntil = Clock.monotonic() &+ seconds &* 1_000_000_000
        checkWait(Clock.monotonic())
    }

    /// Every container has it, also where the configuration says nothing of a network. The kernel has nothing to wait for here.
    private func switchOnLoopback() {
        do throws(NetworkError) {
            var configurator = try Configurator()
            try configurator.switchOnLoopback()
        } catch {
            runtime.diagnostics.warning(error.description)
        }
    }

    private func checkWait(_ now: Int64) {
        guard let due = waitUntil else { return }
        if runtime.lifecycle.outcome != nil {
            waitUntil = nil
        } else if let failure = state.failure ?? (due <= now ? missing : nil) {
            waitUntil = nil
            runtime.lifecycle.fail(Failure(failure))
        } else if missing == nil {
            waitUntil = nil
            publish(isLate: true)
            runtime.lifecycle.begin()
        }
    }

    /// What the container still waits for.
    private var missing: NetworkError? {
        if let missing = state.missing(after: seconds) { return missing }
        if !hasResolver || image != nil { return nil }
        return NetworkError("read", "/etc/resolv.conf of the image", "not done within \(seconds) s")
    }

    /// `spec` with the /etc/resolv.conf of the name servers that there are or may be, where it has none of its own.
    func completed(_ spec: ContainerSpec) -> ContainerSpec {
        var spec = spec
        if hasResolver, let mount = resolver.mount(in: spec, over: image) { spec.mounts.append(mount) }
        return spec
    }

    private func writeResolver() {
        if hasResolver { resolver.write(state.resolverFile ?? image?.text ?? ImageResolver.none) }
    }

    // MARK: Work

    private func work(_ now: Int64) {
        guard isWanted, worker == nil, stuck == nil, state.needsWork, workAfter <= now, releaseUntil == nil else { return }
        working = state.takeWork()
        let (wanted, modules, isFirst, looksAtImage) = (working, runtime.modules, !hasWorked, hasResolver && image == nil)
        hasWorked = true
        workDeadline = .after(milliseconds: Networks.workPatience)
        do throws(SyscallError) {
            worker = try Worker.start("set up the network", limit: 262_144) { output in
                if isFirst { Networks.loadDrivers(modules, output) }
                do throws(NetworkError) {
                    var configurator = try Configurator()
                    configurator.apply(wanted) { Networks.send(.report, [$0.encoded], output) }
                } catch {
                    Networks.send(.failed, [Array(error.operation.utf8), Array(error.object.utf8), Array(error.cause.utf8)], output)
                }
                // Last, since it is the disk that is asked: a dead one holds up nothing but the container, which cannot do without it.
                if looksAtImage { Networks.send(.image, [ImageResolver(in: Shutdown.rootfs).encoded], output) }
            }
        } catch {
            return workEnded(NetworkError(error.operation, error.object, error.errno.description), now)
        }
        stepper.resume(runtime.loop, worker?.descriptor ?? -1, self, role: Role.work.rawValue)
    }

    private static func loadDrivers(_ modules: ModuleLoader, _ output: borrowing WorkerOutput) {
        let report = modules.loadForPresentHardware(.network, until: .after(milliseconds: 10_000))
        let texts = [report.loaded.joined(separator: ", ")] + report.failures.map { $0.description }
        send(.modules, texts.map { Array($0.utf8) }, output)
    }

    private static func send(_ message: Message, _ parts: [[UInt8]], _ output: borrowing WorkerOutput) {
        var fields = FieldEncoder()
        fields.append(message.rawValue)
        for part in parts { fields.append(part) }
        output.send(fields.bytes)
    }

    private func stepWork(_ now: Int64) {
        stepper.pause(runtime.loop)
        let messages = worker?.takeMessages() ?? []
        for message in messages { take(message) }
        if let result = worker?.step() {
            for message in result.messages { take(message) }
            return workEnded(result.ending == .finished ? nil : Networks.failure("the worker has not come to its end"), now)
        }
        if workDeadline.hasPassed {
            // It hangs in the kernel, or is slow to die of this: PID 1 reaps it when it has.
            worker?.abandon()
            stuck = worker?.processID
            return workEnded(Networks.failure("not done within \(Networks.workPatience / 1000) s"), now)
        }
        if !messages.isEmpty { changed(now) }
        stepper.resume(runtime.loop, worker?.descriptor ?? -1, self, role: Role.work.rawValue)
    }

    private static func failure(_ cause: String) -> NetworkError { NetworkError("set up", "the network", cause) }

    private func workEnded(_ error: NetworkError?, _ now: Int64) {
        worker = nil
        working = []
        state.workEnded()
        if let error { state.workFailed(error) }
        if !state.hasFailed {
            (retryAt, retryDelay) = (nil, Networks.firstRetry)
        } else if retryAt == nil {
            retryAt = now &+ retryDelay
            retryDelay = min(retryDelay &* 2, Networks.lastRetry)
        }
        changed(now)
    }

    private func take(_ message: [UInt8]) {
        var fields = FieldDecoder(message)
        switch fields.number().flatMap({ Message(rawValue: $0) }) {
        case .modules:
            if let loaded = fields.text(), !loaded.isEmpty { runtime.diagnostics.info("loaded modules \(loaded)") }
            while let failure = fields.text() { runtime.diagnostics.warning(failure) }
        case .report:
            guard let report = fields.field().flatMap({ InterfaceReport($0) }), let wanted = working.first(where: { $0.id == report.id })
            else { return }
            state.take(report, of: wanted)
        case .failed:
            guard let operation = fields.text(), let object = fields.text(), let cause = fields.text() else { return }
            state.workFailed(NetworkError(operation, object, cause))
        case .image: image = fields.field().flatMap { ImageResolver($0) }
        case nil: return
        }
    }

    /// What follows from what has been done, or has come or gone.
    private func changed(_ now: Int64) {
        for interface in state.interfaces { tell(interface) }
        updateClients()
        writeResolver()
        publish(isLate: stuck != nil)
        checkWait(now)
    }

    private func tell(_ interface: NetworkState.Interface) {
        var text = interface.failure?.description ?? ""
        if text.isEmpty, interface.isReady {
            text = "\(interface.name): \(interface.addresses.isEmpty ? "no address" : Networks.list(interface.addresses.map { $0.text }))"
            if let gateway = interface.gateway { text += ", gateway \(gateway.text)" }
        }
        for refusal in interface.refused { warn(interface.settings.id, refusal) }
        let isGone = interface.link == nil && told[interface.settings.id] != nil
        if text.isEmpty && isGone { text = "\(interface.name): the adapter is gone" }
        if text.isEmpty || told[interface.settings.id] == text { return }
        told[interface.settings.id] = text
        if interface.failure != nil || isGone { runtime.diagnostics.warning(text) } else { runtime.diagnostics.info(text) }
    }

    private static func list(_ texts: [String]) -> String { texts.joined(separator: ", ") }

    /// Warns once of what a lease or a client may repeat for ever.
    private func warn(_ id: String, _ text: String) {
        let given = warnings[id] ?? []
        if given.count > Networks.mostWarnings || given.contains(text) { return }
        warnings[id] = given + [text]
        runtime.diagnostics.warning(given.count < Networks.mostWarnings ? text : "\(id): further warnings are left out")
    }

    /// Tells whoever configured the VM, unless what there is to tell is being changed. What is said of its end is the last word.
    /// - Parameter isLate: nobody can wait for the changes.
    private func publish(isLate: Bool) {
        if runtime.lifecycle.outcome != nil || !state.isAtRest && !isLate { return }
        runtime.vic?.networks?.update(state)
        let network = state.interfaces.compactMap { interface -> Status.Network? in
            guard interface.link != nil else { return nil }
            return Status.Network(
                interface: interface.name, addresses: interface.addresses.map { $0.text }, gateway: interface.gateway?.text,
                nameservers: interface.nameservers.map { $0.text }, source: interface.settings.usesDHCP ? "dhcp" : "static")
        }
        if network == runtime.status.network { return }
        runtime.status.network = network
        runtime.status.publish()
    }

    // MARK: DHCP clients

    /// Has a client for each adapter that wants one and is there, and no other.
    private func updateClients() {
        if releaseUntil != nil { return }
        for client in clients {
            let interface = state.interfaces.first { $0.settings.id == client.id }
            if interface?.link?.index == client.index && interface?.link?.name == client.interface { continue }
            client.close()
            leaving.append(client)
            clients.removeAll { $0 === client }
        }
        for interface in state.interfaces where interface.settings.usesDHCP && interface.failure == nil {
            let id = interface.settings.id
            guard let link = interface.link, !clients.contains(where: { $0.id == id }) else { continue }
            clients.append(
                DHCPClient(
                    id, link, hostname: runtime.spec.hostname ?? "", machine: Networks.machine(),
                    address: interface.lease?.address.address.text, runtime.loop, runtime.diagnostics,
                    take: { event in self.take(event, for: id) }, warn: { text in self.warn(id, "dhcp \(id): \(text)") }))
        }
    }

    /// The machine's UUID, as its firmware has it.
    private static func machine() -> String { (try? Files.readText("/sys/class/dmi/id/product_uuid", limit: 256)) ?? "" }

    private func take(_ event: LeaseEvent, for id: String) {
        let now = Clock.monotonic()
        state.take(event, for: id, now: now)
        switch event {
        case .lease(let lease): for word in state.unused(lease, for: id) { warn(id, "\(id): the DHCP server's \(word) is not used") }
        case .noAnswer: warn(id, "dhcp \(id): no server has answered; the client goes on asking")
        case .none, .refused: break
        }
        workAfter = now
        work(now)
    }

    // MARK: The end

    /// Has the clients give their leases back.
    func close() {
        if releaseUntil != nil { return }
        releaseUntil = Clock.monotonic() &+ Networks.releasePatience
        for client in clients { client.close() }
        leaving += clients
        clients = []
    }

    /// Whether nobody has to be waited for any more.
    var isClosed: Bool { !leaving.contains { $0.helper.isRunning } || (releaseUntil ?? .max) <= Clock.monotonic() }

    // MARK: Events and deadlines

    /// A child was reaped.
    /// - Returns: whether it was a client.
    func reaped(_ child: Children.Ended) -> Bool {
        if child.pid == stuck {
            stuck = nil
            return true
        }
        if clients.contains(where: { $0.helper.reaped(child) }) { return true }
        guard let position = leaving.firstIndex(where: { $0.helper.reaped(child) }) else { return false }
        leaving.remove(at: position)
        return true
    }

    func ready(role: Int32, _ event: Epoll.Event) {
        let now = Clock.monotonic()
        switch Role(rawValue: role) {
        case .work: stepWork(now)
        case .news: takeNews(now)
        case nil: break
        }
    }

    private func takeNews(_ now: Int64) {
        do throws(SyscallError) {
            guard let taken = try news?.takeNews() else { return }
            state.take(taken.answers, mayHaveMissed: taken.mayHaveMissed)
            // Once: news that do not end put nothing off.
            if state.needsWork && workAfter <= now { workAfter = now &+ Networks.newsDelay }
            // What the worker changes is looked at when it is done.
            if worker == nil { changed(now) }
        } catch {
            runtime.diagnostics.warning("adapters that come later are not noticed: \(error.description)")
            if let newsWatch { runtime.loop.unwatch(newsWatch) }
            newsWatch = nil
            news = nil
        }
    }

    var nextDeadline: Int64? {
        guard isWanted else { return nil }
        var next = waitUntil.earlier(state.nextExpiry).earlier(retryAt)
        // After that nobody waits for them any more.
        if let releaseUntil, !isClosed { next = next.earlier(releaseUntil) }
        for client in clients { next = next.earlier(client.nextDeadline) }
        if worker != nil { next = next.earlier(workDeadline.nanoseconds) }
        if worker == nil && stuck == nil && state.needsWork && releaseUntil == nil { next = next.earlier(workAfter) }
        return next
    }

    func checkDeadlines(_ now: Int64) {
        guard isWanted else { return }
        for client in clients {
            client.checkDeadlines(now)
            if client.startIfDue(now) { state.clientStarted(client.id) }
        }
        if let due = retryAt, due <= now {
            retryAt = nil
            state.retry()
        }
        for name in state.expire(now) {
            runtime.diagnostics.warning("dhcp \(name): the lease has run out")
            // Its client would have said so before, and have asked for another: one that hangs must not keep the VM without an address.
            for client in clients where client.interface == name { client.helper.replace() }
        }
        if worker != nil && workDeadline.hasPassed { stepWork(now) }
        work(now)
        checkWait(now)
    }
}
