package journal_test

const childDir = "JOURNAL_CHILD_DIR"

func child(string) error { return nil }
