import Foundation
public import SSH

/// The keys that a client logs in with, in the order in which they are tried.
public struct Identities {
    /// Those whose private half is here, and those that an agent signs with.
    public var keys: [ClientKey]
    /// The socket of the agent that signs with those whose private half is elsewhere.
    public var agent: String?
    /// How long the agent may take to sign, in milliseconds: it may have to ask a person. A guest waits 60 s for the log-in.
    public var signatureMilliseconds: Int64 = 45_000
    /// What could not be used, for the error of a log-in that fails: a sentence each.
    public var remarks: [String] = []

    /// - Parameter keys: those, and no agent.
    public init(keys: [ClientKey] = []) { self.keys = keys }

    /// Gathers a person's keys: those of files, each by itself or, where it has a passphrase or is its public half alone, through the
    /// agent; then the others that the agent has.
    ///
    /// - Parameters:
    ///   - named: files that have to be usable; without any, `standard` are taken as far as they are there and usable.
    ///   - agent: the agent's socket, nil for none. Where it does not answer, files have to do.
    ///   - milliseconds: how long it may take to list its keys.
    public init(named: [String], standard: [String], agent: String?, milliseconds: Int64 = 10_000) throws(AttachError) {
        keys = []
        self.agent = agent
        var held: [PublicKey] = []
        if let agent {
            do throws(AgentError) {
                let question = try AgentQuestion(.identities, path: agent, milliseconds: milliseconds)
                guard case .identities(let keys) = try question.answer() else {
                    throw AgentError("ask", "the SSH agent at \(agent)", "it does not list its keys")
                }
                held = keys
            } catch { remarks.append(error.description) }
        }
        for path in named {
            if let objection = add(try IdentityFile(path: path), path, held) {
                throw .local(operation: "use the private key", object: path, cause: ([objection] + remarks).joined(separator: "; "))
            }
        }
        if named.isEmpty {
            for path in standard where FileManager.default.fileExists(atPath: path) || FileManager.default.fileExists(atPath: path + ".pub")
            {
                do throws(AttachError) {
                    if let objection = add(try IdentityFile(path: path), path, held) { remarks.append("\(path): \(objection)") }
                } catch { remarks.append(error.description) }
            }
        }
        for key in held { add(.elsewhere(key)) }
    }

    private mutating func add(_ key: ClientKey) {
        if !keys.contains(where: { $0.publicKey == key.publicKey }) { keys.append(key) }
    }

    /// - Returns: nil when the key can be used, else why not.
    private mutating func add(_ file: IdentityFile, _ path: String, _ held: [PublicKey]) -> String? {
        switch file {
        case .key(let key): add(.held(key))
        case .locked(let publicHalf?, _) where held.contains(publicHalf): add(.elsewhere(publicHalf))
        case .locked(_, let why):
            let advice = agent == nil ? "there is no agent (SSH_AUTH_SOCK): start ssh-agent" : "the agent does not have it"
            return "it \(why), and \(advice); ssh-add \(path) adds it"
        }
        return nil
    }
}
