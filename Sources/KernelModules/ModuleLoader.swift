import CLinux
import Linux

/// Loads the kernel modules that the hardware and the filesystems need (finit_module(2)): the kernel's own requests for
/// modules go to /sbin/modprobe, which an initramfs need not have.
///
/// Every load runs in a ``Worker``: a driver's first look at its hardware may hang.
public final class ModuleLoader {
    public let index: ModuleIndex
    /// The folder of the index: "/lib/modules/6.1.0-44-cloud-amd64".
    public let directory: String
    /// Modules that were loaded by this object or refused once, so that no uevent makes it try them again.
    private var settled: Set<String> = []
    private let parameters: ModuleParameters

    /// The most bytes of one index file; Debian's whole modules.alias has 1.2 MB.
    static let indexLimit = 4 << 20

    /// Reads the index of `directory`. A folder without modules.dep is an index without modules: all drivers are built in.
    ///
    /// - Parameters:
    ///   - directory: nil for the running kernel's folder below /lib/modules.
    ///   - kernelArguments: the kernel's command line, whose `module.parameter=value` words reach the module as with
    ///     modprobe(8); nil reads /proc/cmdline.
    /// - Throws: ``ModuleError`` for an index file that exists and cannot be read.
    public init(directory: String? = nil, kernelArguments: String? = nil) throws(ModuleError) {
        self.directory = directory ?? "/lib/modules/" + String(cString: clinux_kernel_release())
        var source = ModuleIndex.Source()
        source.dependencies = try ModuleLoader.read(self.directory + "/modules.dep")
        source.aliases = try ModuleLoader.read(self.directory + "/modules.alias")
        source.softDependencies = try ModuleLoader.read(self.directory + "/modules.softdep")
        index = ModuleIndex(source)
        if let kernelArguments {
            parameters = ModuleParameters(kernelArguments: kernelArguments)
        } else {
            // Without /proc the modules get their defaults.
            let line = (try? Files.readText("/proc/cmdline")) ?? ""
            parameters = ModuleParameters(kernelArguments: line)
        }
    }

    private static func read(_ path: String) throws(ModuleError) -> [UInt8] {
        do throws(SyscallError) { return try Files.read(path, limit: indexLimit) } catch {
            if error.errno == .noSuchFile { return [] }
            throw ModuleError("read module index", path, error.errno.description)
        }
    }

    /// Loads the modules of the hardware that is present now, and of what appears on the buses as they load.
    public func loadForPresentHardware(
        _ selection: ModuleSelection, until deadline: Deadline, interrupt: Interrupt? = nil
    ) -> ModuleReport {
        run("load modules for the hardware", until: deadline, interrupt: interrupt) { session, output in
            // A controller's module brings devices that want modules of their own; buses nest a few levels deep.
            for _ in 0..<8 {
                let before = session.attempted.count
                for alias in PresentHardware.modaliases() where selection.includes(alias) { session.load(matching: alias, output) }
                if session.attempted.count == before { return }
            }
        }
    }

    /// Loads what a device that appeared asks for, by the MODALIAS of its uevent.
    public func load(alias: String, until deadline: Deadline, interrupt: Interrupt? = nil) -> ModuleReport {
        load(aliases: [alias], until: deadline, interrupt: interrupt)
    }

    /// As ``load(alias:until:interrupt:)``, for several. Without anything to load it returns at once.
    public func load(aliases: [String], until deadline: Deadline, interrupt: Interrupt? = nil) -> ModuleReport {
        var names: [String] = []
        for alias in aliases {
            for name in index.modules(matching: alias) where !settled.contains(name) && !names.contains(name) { names.append(name) }
        }
        if names.isEmpty { return ModuleReport() }
        return run("load modules", until: deadline, interrupt: interrupt) { session, output in
            for name in names { session.load(matching: name, output) }
        }
    }

    /// Loads the module of a filesystem type, unless the kernel knows the type (filesystems(5)).
    public func loadFilesystem(_ type: String, until deadline: Deadline, interrupt: Interrupt? = nil) -> ModuleReport {
        if ModuleLoader.kernelKnows(filesystem: type) { return ModuleReport() }
        return load(aliases: ["fs-" + type, type], until: deadline, interrupt: interrupt)
    }

    /// Whether /proc/filesystems lists `type`.
    public static func kernelKnows(filesystem type: String) -> Bool {
        let content = (try? Files.read("/proc/filesystems", limit: 1 << 16)) ?? []
        return content.split(separator: 0x0A).contains { line in
            String(decoding: line.split(separator: 0x09).last ?? [], as: UTF8.self) == type
        }
    }
}

extension ModuleLoader {
    /// What runs in the worker: it tells the parent of each module before and after the kernel has it.
    struct Session {
        let index: ModuleIndex
        let directory: String
        let parameters: ModuleParameters
        var attempted: Set<String>

        mutating func load(matching request: String, _ output: borrowing WorkerOutput) {
            for name in index.modules(matching: request) {
                for step in index.loadOrder(of: name, without: attempted) {
                    attempted.insert(step)
                    guard let path = index.path(of: step) else { continue }
                    output.send(Message.begin(step).encoded)
                    do throws(SyscallError) {
                        try insert(directory + "/" + path, parameters[step])
                        output.send(Message.loaded(step).encoded)
                    } catch {
                        let message = error.errno == .exists ? Message.present(step) : .failed(step, error.errno.description)
                        output.send(message.encoded)
                    }
                }
            }
        }

        private func insert(_ path: String, _ parameters: String) throws(SyscallError) {
            let file = try FileDescriptor.open(path, O_RDONLY)
            let isPlain = path.utf8.suffix(3).elementsEqual(".ko".utf8)
            try attempt("finit_module", path) { clinux_finit_module(file.rawValue, parameters, isPlain ? 0 : 1) }
        }
    }

    enum Message: Equatable {
        case begin(String)
        case loaded(String)
        /// It was loaded already.
        case present(String)
        case failed(String, String)

        var encoded: [UInt8] {
            var encoder = FieldEncoder()
            switch self {
            case .begin(let name): encoder.append(Int64(0)); encoder.append(name); encoder.append("")
            case .loaded(let name): encoder.append(Int64(1)); encoder.append(name); encoder.append("")
            case .present(let name): encoder.append(Int64(2)); encoder.append(name); encoder.append("")
            case .failed(let name, let cause): encoder.append(Int64(3)); encoder.append(name); encoder.append(cause)
            }
            return encoder.bytes
        }

        init?(_ bytes: [UInt8]) {
            var decoder = FieldDecoder(bytes)
            guard let kind = decoder.number(), let name = decoder.text(), let cause = decoder.text(), decoder.isAtEnd else { return nil }
            switch kind {
            case 0: self = .begin(name)
            case 1: self = .loaded(name)
            case 2: self = .present(name)
            case 3: self = .failed(name, cause)
            default: return nil
            }
        }
    }

    private func run(
        _ name: String, until deadline: Deadline, interrupt: Interrupt?, _ body: (inout Session, borrowing WorkerOutput) -> Void
    ) -> ModuleReport {
        var report = ModuleReport()
        if index.moduleCount == 0 { return report }
        let worker: Worker
        do throws(SyscallError) {
            worker = try Worker.start(name, limit: 1 << 20) { output in
                var session = Session(index: index, directory: directory, parameters: parameters, attempted: settled)
                body(&session, output)
            }
        } catch {
            report.failures.append(ModuleError("load modules", name, error.description))
            return report
        }
        let result = worker.wait(until: deadline, interrupt: interrupt)
        var underway: String?
        for bytes in result.messages {
            guard let message = Message(bytes) else { continue }
            switch message {
            case .begin(let name): underway = name
            case .loaded(let name): report.loaded.append(name); settled.insert(name); underway = nil
            case .present(let name): settled.insert(name); underway = nil
            case .failed(let name, let cause):
                report.failures.append(ModuleError("load module", name, cause))
                settled.insert(name)
                underway = nil
            }
        }
        let cause: String
        switch result.ending {
        case .finished: return report
        case .died(let signal): cause = "the worker died (signal \(signal))"
        case .timedOut: cause = "not loaded before the deadline"
        case .interrupted: report.wasInterrupted = true; cause = "interrupted"
        }
        report.failures.append(ModuleError("load module", underway ?? name, cause))
        if let underway { settled.insert(underway) }
        return report
    }
}
