package bmc

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const tasksPath = root + "/TaskService/Tasks"

// task is a firmware update on its way.
type task struct {
	id     int
	start  time.Time
	take   time.Duration
	fail   string // why it will fail
	done   bool
	finish func() // with the server's lock held
}

func (t *task) percent(now time.Time) int {
	if t.take <= 0 {
		return 100
	}
	return int(min(now.Sub(t.start)*100/t.take, 100))
}

// settleTasks lets tasks end whose time has come.
func (c *Controller) settleTasks(now time.Time) {
	if c.lying("task-never-ends") {
		return
	}
	c.mu.Lock()
	tasks := c.tasks
	c.mu.Unlock()
	for _, t := range tasks {
		if !t.done && t.percent(now) == 100 {
			t.done = true
			if t.fail == "" {
				t.finish()
			}
		}
	}
}

func (c *Controller) taskList() obj {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, t := range c.tasks {
		ids = append(ids, strconv.Itoa(t.id))
	}
	return collection(tasksPath, "TaskCollection", children(tasksPath, ids...)...)
}

func (c *Controller) taskBody(path string) (obj, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := strconv.Atoi(strings.TrimPrefix(path, tasksPath+"/"))
	if err != nil || c.lies["task-vanishes"] != nil {
		return nil, false
	}
	for _, t := range c.tasks {
		if t.id == id {
			return c.taskFields(path, t), true
		}
	}
	return nil, false
}

func (c *Controller) taskFields(path string, t *task) obj {
	state, status, percent := "Running", "OK", min(t.percent(time.Now()), 99)
	messages := []any{obj{"MessageId": "TaskEvent.1.0.3.TaskStarted", "Message": "The task with Id '" + strconv.Itoa(t.id) + "' has started."}}
	switch {
	case t.done && t.fail == "":
		state, percent = "Completed", 100
	case t.done:
		state, status = "Exception", "Critical"
		messages = append(messages, obj{"MessageId": "Update.1.0.TransferFailed", "Message": t.fail})
	}
	return resource(path, "Task.v1_4_3.Task", "Task "+strconv.Itoa(t.id), obj{
		"TaskState": state, "TaskStatus": status, "PercentComplete": percent, "StartTime": t.start.UTC().Format(time.RFC3339), "Messages": messages,
	})
}

func (c *Controller) startTask(finish func()) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tasks {
		if !t.done {
			return fail(http.StatusBadRequest, "ResourceInUse", "An update is in progress.")
		}
	}
	t := &task{id: len(c.tasks), start: time.Now(), take: c.machine.server.timing.Update, finish: finish}
	if c.lies["task-fails"] != nil {
		t.fail = "Transfer of image 'image' to '/dev/rshim0/boot' failed."
	}
	c.tasks = append(c.tasks, t)
	path := tasksPath + "/" + strconv.Itoa(t.id)
	return reply{status: http.StatusAccepted, body: c.taskFields(path, t)}.with("Location", path+"/Monitor")
}

var versionForm = regexp.MustCompile(`[0-9]+(\.[0-9]+)+(-[0-9]+)?`)

// simpleUpdate is DSP0266 UpdateService.SimpleUpdate, with the checks of a BlueField for its own software.
func (c *Controller) simpleUpdate(body obj) reply {
	m := c.machine
	uri, _ := body["ImageURI"].(string)
	if uri == "" {
		return fail(http.StatusBadRequest, "ActionParameterMissing", "The action SimpleUpdate requires the parameter ImageURI to be present in "+
			"the request body.")
	}
	target := m.mainFirmware()
	if list, ok := body["Targets"].([]any); ok && len(list) > 0 {
		text, _ := list[0].(string)
		target = text[strings.LastIndex(text, "/")+1:]
	}
	if _, ok := m.config.firmware[target]; !ok {
		return badValue("Targets", body["Targets"])
	}
	if target == "DPU_OS" {
		switch {
		case strings.Contains(uri, "://"):
			return fail(http.StatusBadRequest, "ActionParameterValueFormatError", "The value '%s' for the parameter ImageURI must not have a scheme.", uri)
		case !m.config.bmcRshim || m.config.hostRshim != "Disabled":
			return fail(http.StatusBadRequest, "ResourceErrorsDetectedFormatError", "The resource property Target has detected errors of type "+
				"'rshim is not enabled on the BMC'.")
		case time.Now().Before(m.config.copying):
			return fail(http.StatusServiceUnavailable, "ServiceTemporarilyUnavailable", "Wait for background copy operation.")
		}
	}
	name := uri[strings.LastIndex(uri, "/")+1:]
	return c.startTask(func() { m.install(target, name) })
}

func (m *Machine) mainFirmware() string {
	if m.Slot > 0 {
		return "BMC_Firmware"
	}
	return "BMC"
}

func (c *Controller) pushUpdate(p payload) reply {
	if p.size == 0 {
		return fail(http.StatusBadRequest, "UnrecognizedRequestBody", "The service detected a malformed request body that it was unable to interpret.")
	}
	m := c.machine
	return c.startTask(func() { m.install(m.mainFirmware(), "pushed-99.1.0") })
}

// install puts the version that an image's name holds into the inventory: a card's own software at once, with a restart of the card, other
// firmware at the controller's next restart.
func (m *Machine) install(target, image string) {
	version := versionForm.FindString(image)
	switch {
	case version == "":
		version = image
	case target == "BMC_Firmware":
		version = "BF-" + version
	case target == "DPU_OS":
		version = strings.TrimSuffix(image, ".bfb")
	}
	if target == "DPU_OS" {
		m.config.firmware = set(m.config.firmware, target, version)
		if m.powered() {
			m.begin(time.Now())
		}
		return
	}
	m.config.firmwareNext = set(m.config.firmwareNext, target, version)
}
