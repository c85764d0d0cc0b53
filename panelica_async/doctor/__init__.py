"""Find out why calls to a panel fail, and what to do about it.

```python
from panelica_async.doctor import diagnose

diagnosis = await diagnose("https://panel.example.com:8443", api_key="pk_live_…", api_secret="sk_live_…")
for finding in diagnosis.findings:
    print(finding.state, finding.name, finding.message, finding.hint)
```
"""

from panelica_async.doctor.diagnosis import diagnose
from panelica_async.doctor.findings import Diagnosis, Finding, State

__all__ = ["Diagnosis", "Finding", "State", "diagnose"]
