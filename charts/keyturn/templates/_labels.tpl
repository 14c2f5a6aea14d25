{{- define "keyturn.selector" -}}
app.kubernetes.io/name: keyturn
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keyturn.labels" -}}
{{ include "keyturn.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end }}

{{- define "keyturn.subject" -}}
- kind: ServiceAccount
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
{{- end }}
