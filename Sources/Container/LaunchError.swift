import CLinux
import CSpawn
import ContainerSpec
import Linux

/// Why a container process was not started.
public struct LaunchError: OperationFailure, Equatable, Sendable {
    public let operation: String
    public let object: String
    public let cause: String
    /// As shells and Docker count: 127 the command was not found, 126 it cannot be executed, 125 anything before that.
    public let exitCode: UInt8

    public init(_ operation: String, _ object: String, _ cause: String, exitCode: UInt8 = 125) {
        self.operation = operation
        self.object = object
        self.cause = cause
        self.exitCode = exitCode
    }

    init(_ error: SyscallError) { self.init(error.operation, error.object, error.errno.description) }
}

/// Runs system calls whose failure is one of the launch.
func mapped<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(LaunchError) -> Result {
    do throws(SyscallError) { return try body() } catch { throw LaunchError(error) }
}

extension LaunchError {
    /// Puts a child's report into words.
    ///
    /// - Parameters:
    ///   - root: what it worked on, if it made namespaces.
    ///   - process: what it was to become, if it came to that.
    ///   - object: the child itself, for a step that has no other object.
    init(_ report: cspawn_report, root: RootPlan?, process: ProcessPlan?, object: String) {
        let number = CInt(report.step)
        let errno = Errno(rawValue: report.error)
        let operation = String(cString: cspawn_step_name(number))
        let step = cspawn_step(rawValue: UInt32(truncatingIfNeeded: number))
        if step == CSPAWN_EXEC {
            self.init(exec: process?.command ?? object, errno, interpreterMissing: report.index == 1)
        } else if step == CSPAWN_TARGET_IS_LINK || step == CSPAWN_TARGET_IS_ROOT {
            let cause =
                step == CSPAWN_TARGET_IS_LINK
                ? "the image has a symbolic link there, where a directory has to be"
                : "that is the container's root itself, where a link of the image leads"
            self.init(operation, root?.object(of: step, Int(report.index)) ?? object, cause)
        } else {
            let named = root?.object(of: step, Int(report.index)) ?? process?.object(of: step, Int(report.index))
            self.init(operation, named ?? object, errno.description)
        }
    }

    private init(exec command: String, _ errno: Errno, interpreterMissing: Bool) {
        if interpreterMissing {
            self.init("exec", command, "its interpreter or dynamic loader does not exist", exitCode: 127)
        } else if errno == .noSuchFile {
            let cause = command.utf8.contains(UInt8(ascii: "/")) ? errno.description : "not found in PATH"
            self.init("exec", command, cause, exitCode: 127)
        } else {
            self.init("exec", command, errno.description, exitCode: 126)
        }
    }
}

extension RootPlan {
    /// What a step worked on; nil if the step is none of the root's.
    fileprivate func object(of step: cspawn_step, _ index: Int) -> String? {
        switch step {
        case CSPAWN_MOUNT_TARGET: mount(index)?.target ?? "?"
        case CSPAWN_TARGET_IS_LINK, CSPAWN_TARGET_IS_ROOT, CSPAWN_MOUNT, CSPAWN_MOUNT_PROPAGATION, CSPAWN_MOUNT_ATTRIBUTES,
            CSPAWN_MOUNT_ID_MAP:
            mount(index)?.description ?? "?"
        case CSPAWN_DEVICE: element(devices.map { $0.path }, index)
        case CSPAWN_LINK: element(Defaults.links.map { $0.path }, index)
        case CSPAWN_MASK: element(spec.maskedPaths, index)
        case CSPAWN_READONLY_PATH: element(spec.readonlyPaths, index)
        case CSPAWN_SYSCTL: element(spec.sysctl.map { "\($0.key)=\($0.value)" }, index)
        case CSPAWN_HOSTNAME: spec.hostname ?? ""
        case CSPAWN_DOMAINNAME: spec.domainname ?? ""
        case CSPAWN_PROPAGATION, CSPAWN_OPEN_ROOT, CSPAWN_MOVE_ROOT, CSPAWN_READONLY_ROOT, CSPAWN_ROOT_PROPAGATION: path
        default: nil
        }
    }
}

extension ProcessPlan {
    /// What a step worked on; nil if the step is none of the process's.
    fileprivate func object(of step: cspawn_step, _ index: Int) -> String? {
        switch step {
        case CSPAWN_RLIMIT: element(process.resourceLimits.map { $0.type }, index)
        case CSPAWN_CWD: process.cwd
        case CSPAWN_UID, CSPAWN_TERMINAL_OWNER: "\(user.uid)"
        case CSPAWN_GID: "\(user.gid)"
        case CSPAWN_CONSOLE: "/dev/console"
        case CSPAWN_STDIO: "\(index)"
        case CSPAWN_BOUNDING, CSPAWN_AMBIENT: Capabilities.name(UInt32(clamping: index))
        case CSPAWN_LABEL: element([process.apparmorProfile, process.selinuxLabel].compactMap { $0 }, index)
        default: nil
        }
    }
}

/// The element at `index`, or a question mark: the index comes from another process.
private func element(_ names: [String], _ index: Int) -> String { names.indices.contains(index) ? names[index] : "?" }
