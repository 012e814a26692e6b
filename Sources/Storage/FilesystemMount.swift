import CLinux
import CMount
import Linux

/// One mount(2) of a block device through libmount. It reads and writes the disk, so it runs in a ``Worker``.
struct FilesystemMount {
    let device: String
    /// The kernel's name of the device, as its messages have it.
    let name: String
    let type: String
    let target: String
    let options: MountOptions

    enum Outcome: Equatable {
        case mounted(readOnly: Bool)
        case failed(String)
    }

    func run() -> Outcome {
        do throws(SyscallError) { try Files.makeDirectories(target) } catch { return .failed(error.description) }
        guard let context = mnt_new_context() else { return .failed("\(Errno(rawValue: ENOMEM))") }
        defer { mnt_free_context(context) }
        // We say everything: no fstab, no mtab or utab to write, no program /sbin/mount.<type> to run, no path to rewrite.
        mnt_context_set_optsmode(context, Int32(MNT_OMODE_NOTAB))
        mnt_context_disable_mtab(context, 1)
        mnt_context_disable_helpers(context, 1)
        mnt_context_disable_canonicalize(context, 1)
        let log = KernelLog()
        guard mnt_context_set_source(context, device) == 0, mnt_context_set_target(context, target) == 0,
            mnt_context_set_fstype(context, type) == 0, mnt_context_set_mflags(context, options.flags) == 0,
            options.data.isEmpty || mnt_context_set_options(context, options.data) == 0
        else { return .failed("libmount does not take the options \(options.data)") }
        let status = mnt_context_mount(context)
        if status == 0 && mnt_context_get_status(context) == 1 {
            return .mounted(readOnly: options.flags & UInt(MS_RDONLY) != 0 || mnt_context_forced_rdonly(context) == 1)
        }
        var cause: String
        if mnt_context_syscall_called(context) == 1 {
            cause = Errno(rawValue: abs(mnt_context_get_syscall_errno(context))).description
        } else {
            var text = [CChar](repeating: 0, count: 512)
            _ = mnt_context_get_excode(context, status, &text, text.count)
            cause = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if cause.isEmpty { cause = status < 0 ? Errno(rawValue: -status).description : "libmount error \(status)" }
        }
        let messages = log?.messages(about: name) ?? []
        if !messages.isEmpty { cause += " (kernel: " + messages.joined(separator: "; ") + ")" }
        return .failed(cause)
    }
}

extension FilesystemMount.Outcome {
    var encoded: [UInt8] {
        var encoder = FieldEncoder()
        switch self {
        case .mounted(let readOnly):
            encoder.append(true)
            encoder.append(readOnly)
        case .failed(let cause):
            encoder.append(false)
            encoder.append(cause)
        }
        return encoder.bytes
    }

    init?(encoded: [UInt8]) {
        var decoder = FieldDecoder(encoded)
        switch decoder.flag() {
        case true:
            guard let readOnly = decoder.flag() else { return nil }
            self = .mounted(readOnly: readOnly)
        case false:
            guard let cause = decoder.text() else { return nil }
            self = .failed(cause)
        default: return nil
        }
    }
}

extension Storage {
    /// Checks what can be checked before the disk is touched.
    ///
    /// - Throws: ``StorageError`` for an option that a root filesystem cannot have.
    static func rootfsOptions(_ request: RootfsRequest) throws(StorageError) -> MountOptions {
        // An image shall not bring its own way to the disks and ports. Before the others: the option `dev` takes it back.
        var options = try MountOptions.parse(["nodev"] + request.options)
        let other = UInt(MS_BIND) | UInt(MS_REMOUNT) | UInt(MS_REC)
        if options.flags & other != 0 || !options.propagation.isEmpty {
            throw StorageError(
                .invalidRequest, "mount", request.device.description,
                "bind, remount and propagation are no options of a disk: " + request.options.joined(separator: ","))
        }
        if request.readOnly { options.flags |= UInt(MS_RDONLY) }
        return options
    }

    /// The type to mount as, or why the disk cannot be mounted.
    static func mountableType(of disk: BlockDevice, _ request: RootfsRequest) throws(StorageError) -> String {
        let cause: String
        switch disk.content {
        case .filesystem(let filesystem, _):
            if let type = request.type { return type }
            if filesystem.usage == "filesystem" { return filesystem.type }
            cause = "it holds \(filesystem.type), which is no filesystem"
        case .unreadable(let why): cause = why
        case .notProbed, .partitionTable, .unknown, .ambivalent:
            if let type = request.type { return type }
            cause = "it holds no filesystem that can be told: \(disk.content.summary)"
        }
        throw StorageError(.mountFailed, "mount", disk.path, cause)
    }
}
