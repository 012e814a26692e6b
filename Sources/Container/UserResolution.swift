import CLinux
import CSpawn
import ContainerSpec
import Linux

/// Finds out whom `process.user` means, from the image's own files, in a worker: the image may be on a disk that never answers.
final class UserResolution {
    private var worker: Worker
    private let user: ContainerUser

    /// "HOME=…" with something behind it.
    static func isHome(_ entry: String) -> Bool { entry.utf8.count > 5 && entry.utf8.starts(with: "HOME=".utf8) }

    /// Whom a process is that needs no file of the image for it; nil where it does: for a name, or for HOME.
    static func immediate(_ process: ContainerProcess) -> ResolvedUser? {
        guard process.user.username == nil, process.env.contains(where: isHome) else { return nil }
        return ResolvedUser(uid: process.user.uid, gid: process.user.gid, groups: process.user.additionalGids)
    }

    /// - Parameter root: the directory that the files lie in; links in it lead to nothing outside.
    init(_ user: ContainerUser, root: String) throws(LaunchError) {
        self.user = user
        do throws(SyscallError) {
            // The groups of a user take twelve bytes each.
            worker = try Worker.start("read users of the image", limit: 1 << 20) { output in
                UserResolution.work(user, root, output)
            }
        } catch {
            throw LaunchError(error)
        }
    }

    /// Readable when ``step()`` has something to do.
    var descriptor: Int32 { worker.descriptor }

    enum Progress {
        case waiting
        case resolved(ResolvedUser)
        case failed(LaunchError)
    }

    func step() -> Progress {
        guard let result = worker.step() else { return .waiting }
        guard case .finished = result.ending, let message = result.messages.first, let answer = decode(message) else {
            return .failed(LaunchError("read users", "of the image", "the worker did not finish"))
        }
        return answer
    }

    /// Ends the worker without waiting for it.
    func abandon() { worker.abandon() }

    // MARK: In the worker

    private static func work(_ user: ContainerUser, _ root: String, _ output: borrowing WorkerOutput) {
        var answer = FieldEncoder()
        do throws(LaunchError) {
            let resolved = try resolve(user, root)
            answer.append(true)
            answer.append(Int64(resolved.uid))
            answer.append(Int64(resolved.gid))
            answer.append(resolved.home)
            for group in resolved.groups { answer.append(Int64(group)) }
        } catch {
            answer.append(false)
            answer.append(error.operation)
            answer.append(error.object)
            answer.append(error.cause)
        }
        output.send(answer.bytes)
    }

    private static func resolve(_ user: ContainerUser, _ root: String) throws(LaunchError) -> ResolvedUser {
        guard let name = user.username else {
            // Only for HOME, and no file is worth a failure for that.
            let passwd = (try? read("/etc/passwd", in: root)) ?? []
            let home = UserDatabase(passwd: passwd, group: []).home(of: user.uid)
            return ResolvedUser(uid: user.uid, gid: user.gid, groups: user.additionalGids, home: home)
        }
        let database = UserDatabase(passwd: try read("/etc/passwd", in: root), group: try read("/etc/group", in: root))
        do throws(UnknownUser) {
            var resolved = try database.resolve(name)
            for group in user.additionalGids where !resolved.groups.contains(group) { resolved.groups.append(group) }
            return resolved
        } catch {
            switch error.kind {
            case .user: throw LaunchError("find user", error.name, "no matching entry in the image's /etc/passwd")
            case .group: throw LaunchError("find group", error.name, "no matching entry in the image's /etc/group")
            }
        }
    }

    /// A file that is not there is empty, as Docker has it.
    private static func read(_ path: String, in root: String) throws(LaunchError) -> [UInt8] {
        do throws(SyscallError) {
            let directory = try FileDescriptor.open(root, O_PATH | O_DIRECTORY)
            return try content(
                of: FileDescriptor(owning: try attempt("open", path) { cspawn_open_file_in_root(directory.rawValue, path) }), path)
        } catch {
            if error.operation == "open" && (error.errno == .noSuchFile || error.errno == Errno(rawValue: ENOTDIR)) { return [] }
            throw LaunchError(error.operation, "\(error.object) of the image", error.errno.description)
        }
    }

    private static func content(of file: consuming FileDescriptor, _ path: String) throws(SyscallError) -> [UInt8] {
        var status = stat()
        try attempt("stat", path) { fstat(file.rawValue, &status) }
        if clinux_is_regular(status.st_mode) == 0 { throw SyscallError("read", path, .invalidArgument) }
        var content: [UInt8] = []
        while let chunk = try file.read(atMost: 65_536, object: path), !chunk.isEmpty {
            if content.count + chunk.count > UserDatabase.fileLimit { throw SyscallError("read", path, Errno(rawValue: EFBIG)) }
            content += chunk
        }
        return content
    }

    // MARK: In PID 1

    private func decode(_ message: [UInt8]) -> Progress? {
        var fields = FieldDecoder(message)
        guard let found = fields.flag() else { return nil }
        if !found {
            guard let operation = fields.text(), let object = fields.text(), let cause = fields.text() else { return nil }
            return .failed(LaunchError(operation, object, cause))
        }
        guard let uid = fields.number(), let gid = fields.number(), let home = fields.text() else { return nil }
        var groups: [UInt32] = []
        while let group = fields.number() { groups.append(UInt32(clamping: group)) }
        guard fields.isAtEnd, groups.count <= UserDatabase.groupLimit else { return nil }
        return .resolved(ResolvedUser(uid: UInt32(clamping: uid), gid: UInt32(clamping: gid), groups: groups, home: home))
    }
}
