package dir

// Steps are the names given to Options.Failpoint, in the order in which a put, a deletion, and the settling of both
// pass them; parts and uploads pass the same and those marked.
var Steps = []string{
	stepCreated, stepWritten, stepSynced, stepListed, stepCommitted, stepRenamed,
	stepRemoving, stepRemoved,
	stepSettling, stepFolders, stepSettled,
	stepPart, stepJoined, stepAborted,
}

const (
	stepCreated   = "object-created"   // the temporary file is there, empty
	stepWritten   = "object-written"   // it has all bytes
	stepSynced    = "object-synced"    // and they are on disk
	stepListed    = "object-listed"    // and so is its name
	stepCommitted = "object-committed" // the index names it: the object exists
	stepRenamed   = "object-renamed"   // the file is at its path: the caller is answered
	stepRemoving  = "object-removing"  // the index has forgotten the object, the file is there
	stepRemoved   = "object-removed"   // the file is removed
	stepSettling  = "object-settling"  // a round of settling begins
	stepFolders   = "object-folders"   // folders are on disk
	stepSettled   = "object-settled"   // the notes are cleared
	stepPart      = "object-part"      // a part is in the index
	stepJoined    = "object-joined"    // the parts of an upload are in one file
	stepAborted   = "object-aborted"   // the index has forgotten the upload, its files are there
)

// at passes a step; an error is a fault that a test asks for.
func (s *Store) at(step string) error {
	if s.opts.Failpoint != nil {
		s.opts.Failpoint(step)
	}
	if s.opts.fail != nil {
		return s.opts.fail(step)
	}
	return nil
}
